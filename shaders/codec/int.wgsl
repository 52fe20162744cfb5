// Slices of the 8-bit parent: weight = (2^(8 - WIDTH) code - zero) * scale, one (scale, zero) per block of a row. A row
// is a plane of 8, 4, 2 or 1 bits for each one in the binary WIDTH, upper bits first, each padded to 16 bytes.
// Constants: WIDTH, 1 to 8.
@group(0) @binding(2) var<storage, read> words: array<u32>;         // [rows, row_words]
@group(0) @binding(3) var<storage, read> scales: array<vec2<f32>>;  // [rows, blocks]

struct Codes {
    at: u32,        // the next plane of the row
    codes: vec4<u32>,
}

fn decode4(row: u32, quad: u32) -> vec4<f32> {
    var read = Codes(row * params.row_words, vec4<u32>());
    // WIDTH is constant: what is not stored costs nothing.
    if (WIDTH & 8u) != 0u { read = read_plane(read, 8u, quad); }
    if (WIDTH & 4u) != 0u { read = read_plane(read, 4u, quad); }
    if (WIDTH & 2u) != 0u { read = read_plane(read, 2u, quad); }
    if (WIDTH & 1u) != 0u { read = read_plane(read, 1u, quad); }
    let scale = scales[row * params.blocks + ((4u * quad) >> params.block_shift)];
    return (f32(1u << (8u - WIDTH)) * vec4<f32>(read.codes) - scale.y) * scale.x;
}

// Four neighbouring codes longer by what a plane holds of them.
fn read_plane(before: Codes, bits: u32, quad: u32) -> Codes {
    let first = 4u * bits * quad;
    let word = words[before.at + first / 32u] >> (first % 32u);
    let part = (vec4<u32>(word) >> vec4<u32>(0u, bits, 2u * bits, 3u * bits)) & vec4<u32>((1u << bits) - 1u);
    return Codes(before.at + 4u * ((params.in_features * bits + 127u) / 128u), (before.codes << vec4<u32>(bits)) | part);
}
