// Chooses each token's experts: the `choices` largest logits, ties to the lower index, weighted by softmax over all
// experts (arXiv 2101.03961, 2006.16668). One workgroup per token; lanes stride over the experts.
// Needs: workgroup_sum, better, workgroup_argmax (reduce/*), span. Constants: EXPERTS, RENORMALIZE.
struct Params { choices: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [rows, EXPERTS]
@group(0) @binding(3) var<storage, read_write> expert_of_slot: array<u32>;    // [rows, choices]
@group(0) @binding(4) var<storage, read_write> weight_of_slot: array<f32>;    // [rows, choices]
const WORKGROUP_SIZE: u32 = 64u;
const LOWEST: f32 = -3.3e38;
const TAKEN: f32 = -3.4e38;                 // below any logit

var<workgroup> remaining: array<f32, EXPERTS>;
var<workgroup> chosen_weight: array<f32, EXPERTS>;

fn run(row: u32, lane: u32) {
    if row >= span.rows {
        return;
    }
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        // An expert ruled out by minus infinity is chosen last, but before one that was chosen already.
        remaining[e] = max(logits[row * EXPERTS + e], LOWEST);
    }
    workgroupBarrier();
    var top = 0.0;
    var exp_sum = 0.0;
    var weight_sum = 0.0;
    for (var choice = 0u; choice < params.choices; choice += 1u) {
        var best = Candidate(TAKEN, EXPERTS);
        for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
            best = better(best, Candidate(remaining[e], e));
        }
        best = workgroup_argmax(best, lane);
        if choice == 0u {
            top = best.value;
            var sum = 0.0;
            for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
                sum += exp(max(remaining[e] - top, -80.0));
            }
            exp_sum = workgroup_sum(sum, lane);
        }
        let weight = exp(max(best.value - top, -80.0)) / exp_sum;
        weight_sum += weight;
        if lane == 0u {
            expert_of_slot[row * params.choices + choice] = best.index;
            chosen_weight[choice] = weight;
            remaining[best.index] = TAKEN;
        }
        workgroupBarrier();
    }
    for (var choice = lane; choice < params.choices; choice += WORKGROUP_SIZE) {
        let divisor = select(1.0, weight_sum, RENORMALIZE);
        weight_of_slot[row * params.choices + choice] = chosen_weight[choice] / divisor;
    }
}
