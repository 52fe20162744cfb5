// Each expert takes the tokens with its largest scores, ties to the earlier token (arXiv 2202.09368, section 3.2), and has them in
// the order of tokens: slot = expert * capacity + chosen tokens before. One workgroup per expert, neighbouring tokens to each
// lane; with few experts several, which share the writing.
// Needs: capacity (capacity/*), workgroup_sum4 (reduce/*), span. Constants: WORKGROUP_SIZE, ROWS_PER_WORKGROUP, TILE_ROWS.
struct Params {
    experts: u32,
    max_tiles: u32,
    share_numerator: u32,
    share_denominator: u32,
    share_round: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> scores: array<f32>;              // [experts, rows]
@group(0) @binding(3) var<storage, read_write> slot_of_choice: array<u32>;    // [experts, rows]; NONE: not chosen
@group(0) @binding(4) var<storage, read_write> token_of_slot: array<u32>; // [experts capacity]
@group(0) @binding(5) var<storage, read_write> weight_of_slot: array<f32>;    // [experts capacity]
@group(0) @binding(6) var<storage, read_write> tile_map: array<vec4<u32>>;    // [max_tiles]: expert, first, count, 0
const NONE: u32 = 0xffffffffu;

var<workgroup> lane_counts: array<vec2<u32>, WORKGROUP_SIZE>;

// Bits of numbers above 0 sort as they do; the others are alike.
fn key(choice: u32) -> u32 {
    let score = scores[choice];
    return select(0u, bitcast<u32>(score), score > 0.0);
}

// The least key that is taken: the largest of which as many are not below it, two bits at a time. Sums of f32 count up to 2^24.
// Neighbouring lanes look at neighbours.
fn least_key(choices: vec2<u32>, taken: u32, lane: u32) -> u32 {
    var least = 0u;
    for (var step = 0u; step < 16u; step += 1u) {
        let shift = 30u - 2u * step;
        let candidates = vec4<u32>(least) + (vec4<u32>(1u, 2u, 3u, 3u) << vec4<u32>(shift));
        var counts = vec4<u32>();
        for (var choice = choices.x + lane; choice < choices.y; choice += WORKGROUP_SIZE) {
            counts += vec4<u32>(vec4<u32>(key(choice)) >= candidates);
        }
        let all = vec4<u32>(workgroup_sum4(vec4<f32>(counts), lane)) >= vec4<u32>(taken);
        least += (u32(all.x) + u32(all.y) + u32(all.z)) << shift;
    }
    return least;
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
    let parts = (span.rows + params.experts * ROWS_PER_WORKGROUP - 1u) / (params.experts * ROWS_PER_WORKGROUP);
    let expert = workgroup / max(parts, 1u);
    if expert >= params.experts || parts == 0u {
        return;
    }
    let part = workgroup % parts;
    let taken = capacity();
    let each = (span.rows + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
    let own = min(vec2<u32>(lane, lane + 1u) * each, vec2<u32>(span.rows));
    let first = expert * span.rows;
    let least = least_key(vec2<u32>(first, first + span.rows), taken, lane);
    // Keys above the least, and equal ones: of this lane, then of the lanes before, and above it of all.
    var counts = vec2<u32>();
    for (var token = own.x; token < own.y; token += 1u) {
        let at = key(first + token);
        counts += vec2<u32>(u32(at > least), u32(at == least));
    }
    lane_counts[lane] = counts;
    workgroupBarrier();
    var before = vec2<u32>();
    var above = 0u;
    for (var i = 0u; i < WORKGROUP_SIZE; i += 1u) {
        before += select(vec2<u32>(), lane_counts[i], i < lane);
        above += lane_counts[i].x;
    }
    for (var token = own.x; token < own.y; token += 1u) {
        let at = key(first + token);
        let is_chosen = at > least || (at == least && above + before.y < taken);
        if token % parts == part {
            let slot = expert * taken + before.x + min(before.y, taken - above);
            slot_of_choice[first + token] = select(NONE, slot, is_chosen);
            if is_chosen {
                token_of_slot[slot] = token;
                weight_of_slot[slot] = scores[first + token];
            }
        }
        before += vec2<u32>(u32(at > least), u32(at == least));
    }
    if part == 0u {
        map_tiles(expert, taken, lane);
    }
}
