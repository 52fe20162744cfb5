// One row of work per (token, choice), with the expert the router chose for it.
@group(0) @binding(9) var<storage, read> expert_of_slot: array<u32>;   // [tokens, choices]
struct RowSite { input: u32, output: u32, expert: u32 }

fn row_count() -> u32 {
    return span.rows * params.choices;
}

fn row_site(slot: u32) -> RowSite {
    return RowSite(slot / params.slots_per_input, slot, expert_of_slot[slot]);
}
