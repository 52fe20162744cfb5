// Each token takes the expert with the largest entry of its row once exp(logits) has been brought to row sums of 1 and to equal
// column sums by turns, all in logarithms (arXiv 2202.01169, section 3.1); its weight is the softmax probability.
// One workgroup; lanes stride over the tokens, then over the experts. See `check_turns` in moe_sinkhorn.rs: devices may bound turns.
// Needs: span. Constants: EXPERTS, WORKGROUP_SIZE.
struct Params { logit_stride: u32, iterations: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [rows, logit_stride]
@group(0) @binding(3) var<storage, read_write> row_factors: array<f32>;   // [rows], logarithms
@group(0) @binding(4) var<storage, read_write> expert_of_slot: array<u32>;    // [rows]
@group(0) @binding(5) var<storage, read_write> weight_of_slot: array<f32>;    // [rows]
const MOST: f32 = 1e6;                      // magnitude of a logit; NaN counts as minus it

var<workgroup> column_factors: array<f32, EXPERTS>;     // logarithms

// log(sum exp): most + log(total).
struct LogSum { most: f32, total: f32 }

fn joined(sum: LogSum, x: f32) -> LogSum {
    let most = max(sum.most, x);
    return LogSum(most, sum.total * exp(max(sum.most - most, -80.0)) + exp(max(x - most, -80.0)));
}

fn value(sum: LogSum) -> f32 {
    return sum.most + log(sum.total);
}

fn logit_at(row: u32, expert: u32) -> f32 {
    let logit = logits[row * params.logit_stride + expert];
    let is_nan = (bitcast<u32>(logit) & 0x7fffffffu) > 0x7f800000u;
    return select(clamp(logit, -MOST, MOST), -MOST, is_nan);
}

fn scale_rows(lane: u32) {
    for (var row = lane; row < span.rows; row += WORKGROUP_SIZE) {
        var sum = LogSum(logit_at(row, 0u) + column_factors[0], 1.0);
        for (var e = 1u; e < EXPERTS; e += 1u) {
            sum = joined(sum, logit_at(row, e) + column_factors[e]);
        }
        row_factors[row] = -value(sum);
    }
    storageBarrier();
    workgroupBarrier();
}

fn scale_columns(lane: u32) {
    let even = log(f32(span.rows) / f32(EXPERTS));
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        var sum = LogSum(logit_at(0u, e) + row_factors[0], 1.0);
        for (var row = 1u; row < span.rows; row += 1u) {
            sum = joined(sum, logit_at(row, e) + row_factors[row]);
        }
        column_factors[e] = even - value(sum);
    }
    storageBarrier();
    workgroupBarrier();
}

fn choose(row: u32) {
    var best = 0u;
    var most = logit_at(row, 0u) + column_factors[0];
    var sum = LogSum(logit_at(row, 0u), 1.0);
    for (var e = 1u; e < EXPERTS; e += 1u) {
        let logit = logit_at(row, e);
        sum = joined(sum, logit);
        if logit + column_factors[e] > most {
            most = logit + column_factors[e];
            best = e;
        }
    }
    expert_of_slot[row] = best;
    weight_of_slot[row] = exp(max(logit_at(row, best) - sum.most, -80.0)) / sum.total;
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
