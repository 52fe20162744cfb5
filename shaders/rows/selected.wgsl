// One row of work per (token, choice), with the expert the router chose for it, where its weights are among those at
// hand. Needs: place_of, ELSEWHERE (members/*).
@group(0) @binding(9) var<storage, read> expert_of_slot: array<u32>;   // [tokens, choices]
struct RowSite { input: u32, output: u32, expert: u32 }

fn has_row(slot: u32) -> bool {
    return slot < span.rows * params.choices && place_of(expert_of_slot[slot]) != ELSEWHERE;
}

fn row_site(slot: u32) -> RowSite {
    return RowSite(slot / params.slots_per_input, slot, place_of(expert_of_slot[slot]));
}
