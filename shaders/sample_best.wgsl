// First half of sampling: the `KEPT` best of every 4096 logits, best first, ties to the lower token, and the sum of
// exp(score - best) of the run, from which sample_pick has the whole softmax without reading the logits again.
// Needs: score (score/*), workgroup_argmax (reduce/argmax), workgroup_sum (reduce/*). Constants: KEPT.
struct Params {
    vocab_size: u32,
    inverse_temperature: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [vocab_size]
@group(0) @binding(3) var<storage, read_write> best: array<vec4<f32>>;    // [runs, KEPT]: score, token, exp sum, 0
const WORKGROUP_SIZE: u32 = 256u;
const NOTHING: f32 = -3.4e38;

fn run(workgroup: u32, lane: u32) {
    let first = workgroup * RUN;
    if first >= params.vocab_size {
        return;
    }
    let end = min(first + RUN, params.vocab_size);
    var previous = Candidate(3.4e38, 0u);
    var exp_sum = 0.0;
    for (var kept = 0u; kept < KEPT; kept += 1u) {
        // The best of those that are worse than the one found before.
        var found = Candidate(NOTHING, 0xffffffffu);
        for (var token = first + lane; token < end; token += WORKGROUP_SIZE) {
            let candidate = Candidate(score(token), token);
            if candidate.value < previous.value
                || (candidate.value == previous.value && token > previous.index) {
                found = better(found, candidate);
            }
        }
        found = workgroup_argmax(found, lane);
        if kept == 0u {
            var sum = 0.0;
            for (var token = first + lane; token < end; token += WORKGROUP_SIZE) {
                sum += exp(max(score(token) - found.value, -80.0));
            }
            exp_sum = workgroup_sum(sum, lane);
        }
        if lane == 0u {
            best[workgroup * KEPT + kept] = vec4<f32>(found.value, f32(found.index), exp_sum, 0.0);
        }
        previous = found;
    }
}
