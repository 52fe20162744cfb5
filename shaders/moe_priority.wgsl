// Sorts tokens by their largest weight, largest first, ties to the earlier token.
// Needs: ranks (common/rank), span.
struct Params { choices: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> weight_of_slot: array<f32>;      // [rows, choices]
@group(0) @binding(3) var<storage, read_write> token_of_rank: array<u32>; // [rows]

// A token's largest weight.
fn number(token: u32, column: u32) -> f32 {
    var most = 0.0;
    for (var choice = 0u; choice < params.choices; choice += 1u) {
        most = max(most, weight_of_slot[token * params.choices + choice]);
    }
    return most;
}

fn run(workgroup: u32, lane: u32) {
    if workgroup * ROWS_PER_WORKGROUP >= span.rows {
        return;
    }
    let first = workgroup * ROWS_PER_WORKGROUP + 4u * lane;
    let rank = ranks(first, 0u, lane);
    for (var i = 0u; i < 4u && first + i < span.rows; i += 1u) {
        token_of_rank[rank[i]] = first + i;
    }
}
