// Weights are multiplied by a stored number of their expert (Gemma 4).
@group(0) @binding(6) var<storage, read> expert_scale: array<f32>;        // [experts]

fn expert_scale_of(expert: u32) -> f32 {
    return expert_scale[expert];
}
