@group(0) @binding(11) var<storage, read> router_biases: array<f32>;      // [logit_stride]

fn router_bias(row: u32) -> f32 {
    return router_biases[row];
}
