// Each token takes the expert with the largest entry of its row once exp(logits) has been brought to row sums of 1 and to equal
// column sums by turns, all in logarithms (arXiv 2202.01169, section 3.1); its weight is the softmax probability.
// One workgroup; lanes stride over the tokens, then over the experts, and read four numbers in a turn: see
// `check_turns` in moe_sinkhorn.rs.
// Needs: span. Constants: EXPERTS, WORKGROUP_SIZE, IN_A_TURN.
struct Params { logit_stride: u32, iterations: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [rows, logit_stride]
@group(0) @binding(3) var<storage, read_write> row_factors: array<f32>;   // [rows], logarithms
@group(0) @binding(4) var<storage, read_write> expert_of_slot: array<u32>;    // [rows]
@group(0) @binding(5) var<storage, read_write> weight_of_slot: array<f32>;    // [rows]
// Lanes of a vector.
const_assert IN_A_TURN == 4u;
const MOST: f32 = 1e6;                      // magnitude of a logit; NaN counts as minus it
const NOTHING: f32 = -3e38;                 // adds nothing to a sum, and is no largest entry

var<workgroup> column_factors: array<f32, EXPERTS>;     // logarithms

// log(sum exp): most + log(total).
struct LogSum { most: f32, total: f32 }

fn joined(sum: LogSum, x: vec4<f32>) -> LogSum {
    let most = max(sum.most, max(max(x.x, x.y), max(x.z, x.w)));
    let terms = exp(max(x - most, vec4<f32>(-80.0)));
    return LogSum(most, sum.total * exp(max(sum.most - most, -80.0)) + dot(terms, vec4<f32>(1.0)));
}

fn value(sum: LogSum) -> f32 {
    return sum.most + log(sum.total);
}

fn logit_at(row: u32, expert: u32) -> f32 {
    let logit = logits[row * params.logit_stride + expert];
    let is_nan = (bitcast<u32>(logit) & 0x7fffffffu) > 0x7f800000u;
    return select(clamp(logit, -MOST, MOST), -MOST, is_nan);
}

// Logits of a token for four experts; of experts beyond the last, nothing.
fn of_experts(row: u32, first: u32) -> vec4<f32> {
    let e = first + vec4<u32>(0u, 1u, 2u, 3u);
    let at = min(e, vec4<u32>(EXPERTS - 1u));
    let own = vec4<f32>(logit_at(row, at.x), logit_at(row, at.y), logit_at(row, at.z), logit_at(row, at.w));
    return select(vec4<f32>(NOTHING), own, e < vec4<u32>(EXPERTS));
}

fn four_factors(first: u32) -> vec4<f32> {
    let at = min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(EXPERTS - 1u));
    return vec4<f32>(column_factors[at.x], column_factors[at.y], column_factors[at.z], column_factors[at.w]);
}

// Logits of four tokens for an expert, with the factors of their rows; of tokens beyond the last, nothing.
fn of_rows(first: u32, expert: u32) -> vec4<f32> {
    let row = first + vec4<u32>(0u, 1u, 2u, 3u);
    let at = min(row, vec4<u32>(span.rows - 1u));
    let own = vec4<f32>(
        logit_at(at.x, expert), logit_at(at.y, expert), logit_at(at.z, expert), logit_at(at.w, expert));
    let factors = vec4<f32>(row_factors[at.x], row_factors[at.y], row_factors[at.z], row_factors[at.w]);
    return select(vec4<f32>(NOTHING), own + factors, row < vec4<u32>(span.rows));
}

fn scale_rows(lane: u32) {
    for (var row = lane; row < span.rows; row += WORKGROUP_SIZE) {
        var sum = LogSum(NOTHING, 0.0);
        for (var e = 0u; e < EXPERTS; e += IN_A_TURN) {
            sum = joined(sum, of_experts(row, e) + four_factors(e));
        }
        row_factors[row] = -value(sum);
    }
    storageBarrier();
    workgroupBarrier();
}

fn scale_columns(lane: u32) {
    let even = log(f32(span.rows) / f32(EXPERTS));
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        var sum = LogSum(NOTHING, 0.0);
        for (var row = 0u; row < span.rows; row += IN_A_TURN) {
            sum = joined(sum, of_rows(row, e));
        }
        column_factors[e] = even - value(sum);
    }
    storageBarrier();
    workgroupBarrier();
}

struct Best { most: f32, expert: u32 }

fn better(best: Best, entry: f32, expert: u32) -> Best {
    if entry > best.most {
        return Best(entry, expert);
    }
    return best;
}

fn choose(row: u32) {
    var best = Best(NOTHING, 0u);
    var sum = LogSum(NOTHING, 0.0);
    for (var e = 0u; e < EXPERTS; e += IN_A_TURN) {
        let own = of_experts(row, e);
        sum = joined(sum, own);
        let entries = own + four_factors(e);
        best = better(better(best, entries.x, e), entries.y, e + 1u);
        best = better(better(best, entries.z, e + 2u), entries.w, e + 3u);
    }
    expert_of_slot[row] = best.expert;
    weight_of_slot[row] = exp(max(logit_at(row, best.expert) - sum.most, -80.0)) / sum.total;
}

fn run(workgroup: u32, lane: u32) {
    if workgroup > 0u {
        return;
    }
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        column_factors[e] = 0.0;
    }
    workgroupBarrier();
    // A token alone would have equal entries for all experts.
    let rounds = select(0u, params.iterations, span.rows > 1u);
    for (var round = 0u; round < rounds; round += 1u) {
        scale_rows(lane);
        scale_columns(lane);
    }
    for (var row = lane; row < span.rows; row += WORKGROUP_SIZE) {
        choose(row);
    }
}
