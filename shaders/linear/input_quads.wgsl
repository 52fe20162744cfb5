// Four neighbouring inputs of a row of x, whose width is a multiple of four; beyond the row's end they are zero.
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;       // [rows, in_features / 4]

fn load4(row: u32, quad: u32) -> vec4<f32> {
    let quads = params.in_features / 4u;
    return select(vec4<f32>(), x[row * quads + min(quad, quads - 1u)], quad < quads);
}
