// Outputs are multiplied by what another tensor has for their row, from some column on (Gemma 3n and 4: a gate on each layer's
// own embedding).
@group(0) @binding(13) var<storage, read> factors: array<f32>;      // [rows, factor_stride]

fn factor_at(row: u32, n: u32) -> f32 {
    return factors[row * params.factor_stride + params.factor_offset + n];
}
