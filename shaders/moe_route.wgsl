// Chooses each token's experts, the `choices` best, ties to the lower index, and weighs them. One workgroup per token, or for the
// few whose logits it computes; lanes stride over the experts.
// Needs: logits, TOKENS, compute_logits (router/*), better, workgroup_argmax (reduce/argmax), weight_prepare, expert_weight (expert_weight/*), selection_key
// (selection/*), rule_out, candidates (expert_groups/*), expert_scale_of (expert_scale/*), router_noise (router_noise/*),
// is_used (later/*), normalized (normalize/*), number (common/logits), span. Constants: WORKGROUP_SIZE, EXPERTS.
struct Params {
    choices: u32,
    logit_stride: u32,  // elements between the logits of two tokens
    scale: f32,         // multiplies every weight
    jitter: f32,        // of expert_weight/sparse_mixer
    second_offset: u32, // where spreads of noise or logits of groups begin
    seed: u32,          // of noise and of later/sampled
    later_share: f32,   // of later/*
    in_features: u32,   // of router/computed, as all that follows
    row_quads: u32,     // vec4s of a row of the router's matrix, padding included
    eps: f32,           // of its norm
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read_write> expert_of_slot: array<u32>;    // [rows, choices]; NONE: not used
@group(0) @binding(7) var<storage, read_write> weight_of_slot: array<f32>;    // [rows, choices]
const NONE: u32 = 0xffffffffu;

var<workgroup> row_logits: array<f32, EXPERTS>;
var<workgroup> remaining: array<f32, EXPERTS>;
var<workgroup> chosen_weight: array<f32, EXPERTS>;

// What stands behind the logits of experts.
fn second_at(row: u32, index: u32) -> f32 {
    return number(logits[row * params.logit_stride + params.second_offset + index]);
}

fn logit_at(row: u32, expert: u32) -> f32 {
    return row_logits[expert];
}

fn best_remaining(range: vec2<u32>, lane: u32) -> Candidate {
    var best = Candidate(TAKEN, EXPERTS);
    for (var e = range.x + lane; e < range.y; e += WORKGROUP_SIZE) {
        best = better(best, Candidate(remaining[e], e));
    }
    return workgroup_argmax(best, lane);
}

fn run(workgroup: u32, lane: u32) {
    let first = workgroup * TOKENS;
    if first >= span.rows {
        return;
    }
    compute_logits(first, lane);
    for (var t = 0u; t < min(TOKENS, span.rows - first); t += 1u) {
        choose(first + t, lane);
        workgroupBarrier();
    }
}

fn choose(row: u32, lane: u32) {
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        let logit = number(logits[row * params.logit_stride + e]);
        row_logits[e] = max(logit + router_noise(row, e), LOWEST);
    }
    workgroupBarrier();
    weight_prepare(row, lane);
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        remaining[e] = selection_key(e, logit_at(row, e));
    }
    workgroupBarrier();
    rule_out(row, lane);
    var weight_sum = 0.0;
    var first_weight = 0.0;
    for (var choice = 0u; choice < params.choices; choice += 1u) {
        let best = best_remaining(candidates(choice), lane);
        let weight = expert_weight(row, best, lane);
        weight_sum += weight;
        first_weight = select(first_weight, weight, choice == 0u);
        if lane == 0u {
            let used = is_used(row, choice, weight, first_weight);
            expert_of_slot[row * params.choices + choice] = select(NONE, best.index, used);
            chosen_weight[choice] = select(0.0, weight * expert_scale_of(best.index), used);
            remaining[best.index] = TAKEN;
        }
        workgroupBarrier();
    }
    for (var choice = lane; choice < params.choices; choice += WORKGROUP_SIZE) {
        weight_of_slot[row * params.choices + choice] = normalized(choice, weight_sum) * params.scale;
    }
}
