// Each expert takes the tokens with its largest scores, ties to the earlier token (arXiv 2202.09368, section 3.2): slot = expert
// * capacity + rank. One workgroup per expert and run of tokens.
// Needs: capacity (capacity/*), ranks (common/rank), span. Constants: WORKGROUP_SIZE, TILE_ROWS.
struct Params {
    experts: u32,
    max_tiles: u32,
    share_numerator: u32,
    share_denominator: u32,
    share_round: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> scores: array<f32>;              // [rows, experts]
@group(0) @binding(3) var<storage, read_write> slot_of_choice: array<u32>;    // [rows, experts]; NONE: not chosen
@group(0) @binding(4) var<storage, read_write> token_of_slot: array<u32>; // [experts capacity]
@group(0) @binding(5) var<storage, read_write> weight_of_slot: array<f32>;    // [experts capacity]
@group(0) @binding(6) var<storage, read_write> tile_map: array<vec4<u32>>;    // [max_tiles]: expert, first, count, 0
const NONE: u32 = 0xffffffffu;

fn number(token: u32, expert: u32) -> f32 {
    return scores[token * params.experts + expert];
}

// The tiles of an expert, and after those of the last one the empty ones.
fn map_tiles(expert: u32, taken: u32, lane: u32) {
    let tiles = (taken + TILE_ROWS - 1u) / TILE_ROWS;
    for (var i = lane; i < tiles; i += WORKGROUP_SIZE) {
        let first = i * TILE_ROWS;
        tile_map[expert * tiles + i] =
            vec4<u32>(expert, expert * taken + first, min(TILE_ROWS, taken - first), 0u);
    }
    if expert + 1u == params.experts {
        for (var i = params.experts * tiles + lane; i < params.max_tiles; i += WORKGROUP_SIZE) {
            tile_map[i] = vec4<u32>();
        }
    }
}

fn run(workgroup: u32, lane: u32) {
    let runs = (span.rows + ROWS_PER_WORKGROUP - 1u) / ROWS_PER_WORKGROUP;
    if workgroup >= runs * params.experts {
        return;
    }
    let expert = workgroup / runs;
    let first = (workgroup % runs) * ROWS_PER_WORKGROUP + 4u * lane;
    let taken = capacity();
    let rank = ranks(first, expert, lane);
    for (var i = 0u; i < 4u && first + i < span.rows; i += 1u) {
        let is_chosen = rank[i] < taken;
        let slot = expert * taken + rank[i];
        let at = (first + i) * params.experts + expert;
        slot_of_choice[at] = select(NONE, slot, is_chosen);
        if is_chosen {
            token_of_slot[slot] = first + i;
            weight_of_slot[slot] = scores[at];
        }
    }
    if workgroup % runs == 0u {
        map_tiles(expert, taken, lane);
    }
}
