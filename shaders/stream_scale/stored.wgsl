// What layers read besides is scaled (Gemma 3n).
@group(0) @binding(9) var<storage, read> stored_scale: array<f32>;        // [d]

fn stream_scale(k: u32) -> f32 {
    return stored_scale[k];
}
