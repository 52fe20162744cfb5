// Sorts tokens by their largest weight, largest first, ties to the earlier token. One lane per token: it counts those before
// it.
// Needs: span. Constants: WORKGROUP_SIZE.
struct Params { choices: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> weight_of_slot: array<f32>;      // [rows, choices]
@group(0) @binding(3) var<storage, read_write> token_of_rank: array<u32>; // [rows]

var<workgroup> keys: array<f32, WORKGROUP_SIZE>;

fn largest_weight(token: u32) -> f32 {
    var most = 0.0;
    for (var choice = 0u; choice < params.choices; choice += 1u) {
        most = max(most, weight_of_slot[token * params.choices + choice]);
    }
    return most;
}

fn run(workgroup: u32, lane: u32) {
    if workgroup * WORKGROUP_SIZE >= span.rows {
        return;
    }
    let token = workgroup * WORKGROUP_SIZE + lane;
    var own = 0.0;
    if token < span.rows {
        own = largest_weight(token);
    }
    var rank = 0u;
    for (var first = 0u; first < span.rows; first += WORKGROUP_SIZE) {
        if first + lane < span.rows {
            keys[lane] = largest_weight(first + lane);
        }
        workgroupBarrier();
        let length = min(WORKGROUP_SIZE, span.rows - first);
        for (var i = 0u; i < length; i += 1u) {
            rank += u32(keys[i] > own || (keys[i] == own && first + i < token));
        }
        workgroupBarrier();
    }
    if token < span.rows {
        token_of_rank[rank] = token;
    }
}
