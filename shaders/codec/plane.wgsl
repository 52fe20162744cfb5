// 16 neighbouring codes of one plane of a row that begins at word `at`, one in each byte.
@group(0) @binding(2) var<storage, read> words: array<u32>;         // [rows, row_words]

fn bits4(at: u32, piece: u32) -> vec4<u32> {
    let a = words[at + 2u * piece];
    let b = words[at + 2u * piece + 1u];
    return vec4<u32>(a, a >> 4u, b, b >> 4u) & vec4<u32>(0x0f0f0f0fu);
}

fn bits2(at: u32, piece: u32) -> vec4<u32> {
    return (vec4<u32>(words[at + piece]) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u);
}

// A word holds two pieces.
fn bits1(at: u32, piece: u32) -> vec4<u32> {
    let half = words[at + piece / 2u] >> (4u * (piece % 2u));
    return (vec4<u32>(half) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(0x01010101u);
}
