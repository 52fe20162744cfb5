// Inputs of an expert are multiplied by its weight (Llama 4), and so are their sums. Rows of the output are slots.
@group(0) @binding(12) var<storage, read> weight_of_slot: array<f32>;   // [tokens, choices]

fn slot_weight(slot: u32) -> f32 {
    return weight_of_slot[slot];
}
