// Four neighbouring inputs of a row of x; beyond the row's end they are zero, whatever the padding decodes to.
@group(0) @binding(4) var<storage, read> x: array<f32>;             // [rows, in_features]

fn load4(row: u32, quad: u32) -> vec4<f32> {
    let k = 4u * quad;
    let at = row * params.in_features + k;
    if k + 3u < params.in_features {
        return vec4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
    }
    var v = vec4<f32>();
    if k < params.in_features { v.x = x[at]; }
    if k + 1u < params.in_features { v.y = x[at + 1u]; }
    if k + 2u < params.in_features { v.z = x[at + 2u]; }
    return v;
}
