@group(0) @binding(4) var<storage, read> token_ids: array<u32>;           // [rows]

fn entry(row: u32) -> u32 {
    return token_ids[row];
}

fn before(at: u32) -> f32 {
    return 0.0;
}
