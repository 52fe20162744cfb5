// The residual stream is multiplied by a stored number (Gemma 4).
@group(0) @binding(9) var<storage, read> stored_scale: array<f32>;        // [1]

fn output_scale() -> f32 {
    return stored_scale[0];
}
