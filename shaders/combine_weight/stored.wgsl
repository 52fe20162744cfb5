@group(0) @binding(3) var<storage, read> weight_of_slot: array<f32>;      // [rows, choices]

fn combine_weight(slot: u32) -> f32 {
    return weight_of_slot[slot];
}
