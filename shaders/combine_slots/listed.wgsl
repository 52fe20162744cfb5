// A token has as many rows as experts chose it, in the order of experts.
@group(0) @binding(8) var<storage, read> slots_of_token: array<u32>;      // [rows, choices]
@group(0) @binding(9) var<storage, read> experts_of_token: array<u32>;    // [rows]: how many
const NONE: u32 = 0xffffffffu;

fn slot_count(token: u32) -> u32 {
    return experts_of_token[token];
}

fn combined_slot(token: u32, n: u32) -> u32 {
    return slots_of_token[token * params.choices + n];
}
