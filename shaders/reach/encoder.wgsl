// What a query sees of the keys: all that the encoder has given, however many its last input had.
@group(0) @binding(10) var<storage, read> encoder_length: array<u32>;     // [1]

fn visible(query_position: u32, key_position: u32, reach: u32) -> bool {
    return true;
}

fn first_visible(position: u32, reach: u32) -> u32 {
    return 0u;
}

fn key_end(newest: u32) -> u32 {
    return encoder_length[0];
}
