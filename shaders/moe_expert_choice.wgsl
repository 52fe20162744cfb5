// Each expert takes the tokens with its largest scores, ties to the earlier token (arXiv 2202.09368, section 3.2): slot = expert
// * capacity + rank. One workgroup per expert and run of tokens, one lane per token: it counts the tokens before it.
// Needs: capacity (capacity/*), span. Constants: WORKGROUP_SIZE, TILE_ROWS.
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

var<workgroup> keys: array<f32, WORKGROUP_SIZE>;

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
    let runs = (span.rows + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
    if workgroup >= runs * params.experts {
        return;
    }
    let expert = workgroup / runs;
    let token = (workgroup % runs) * WORKGROUP_SIZE + lane;
    let taken = capacity();
    var own = 0.0;
    if token < span.rows {
        own = scores[token * params.experts + expert];
    }
    var rank = 0u;
    for (var first = 0u; first < span.rows; first += WORKGROUP_SIZE) {
        if first + lane < span.rows {
            keys[lane] = scores[(first + lane) * params.experts + expert];
        }
        workgroupBarrier();
        let length = min(WORKGROUP_SIZE, span.rows - first);
        for (var i = 0u; i < length; i += 1u) {
            rank += u32(keys[i] > own || (keys[i] == own && first + i < token));
        }
        workgroupBarrier();
    }
    if token < span.rows {
        let slot = expert * taken + rank;
        slot_of_choice[token * params.experts + expert] = select(NONE, slot, rank < taken);
        if rank < taken {
            token_of_slot[slot] = token;
            weight_of_slot[slot] = own;
        }
    }
    if workgroup % runs == 0u {
        map_tiles(expert, taken, lane);
    }
}
