// Second half of sampling: joins the runs' best, keeps the nucleus, draws one token, and moves the sequence on:
// the token becomes the next call's input, and the span its row. One workgroup.
// Needs: workgroup_argmax (reduce/argmax), uniform_random (common/random). Constants: KEPT.
struct Params {
    vocab_size: u32,
    max_samples: u32,
    top_p: f32,
}
struct Span { position: u32, rows: u32, step: u32, seed: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> best: array<vec4<f32>>;          // [runs, KEPT]: score, token, exp sum, 0
@group(0) @binding(3) var<storage, read_write> token_ids: array<u32>;     // [rows]
@group(0) @binding(4) var<storage, read_write> samples: array<u32>;       // [max_samples]
@group(0) @binding(5) var<storage, read_write> next_span: Span;
const WORKGROUP_SIZE: u32 = 64u;

var<workgroup> kept_score: array<f32, KEPT>;
var<workgroup> kept_token: array<u32, KEPT>;

fn run(workgroup: u32, lane: u32) {
    if workgroup > 0u {
        return;
    }
    let runs = (params.vocab_size + RUN - 1u) / RUN;
    let kept = min(KEPT, params.vocab_size);
    var previous = Candidate(3.4e38, 0u);
    for (var n = 0u; n < kept; n += 1u) {
        var found = Candidate(-3.4e38, 0xffffffffu);
        for (var i = lane; i < runs * KEPT; i += WORKGROUP_SIZE) {
            let token = u32(best[i].y);
            let candidate = Candidate(best[i].x, token);
            if candidate.value > -3.4e38 && (candidate.value < previous.value
                || (candidate.value == previous.value && token > previous.index)) {
                found = better(found, candidate);
            }
        }
        previous = workgroup_argmax(found, lane);
        if lane == 0u {
            kept_score[n] = previous.value;
            kept_token[n] = previous.index;
        }
    }
    if lane == 0u {
        let token = kept_token[draw(kept, runs)];
        token_ids[0] = token;
        samples[min(next_span.step, params.max_samples - 1u)] = token;
        next_span.position += next_span.rows;
        next_span.rows = 1u;
        next_span.step += 1u;
    }
}

// Index of the drawn candidate: the shortest prefix that holds top_p of the whole probability, one of it by weight.
fn draw(kept: u32, runs: u32) -> u32 {
    if kept == 1u {
        return 0u;
    }
    let top = kept_score[0];
    var total = 0.0;
    for (var r = 0u; r < runs; r += 1u) {
        total += best[r * KEPT].z * exp(max(best[r * KEPT].x - top, -80.0));
    }
    var mass = 0.0;
    var nucleus = 0u;
    while nucleus < kept && (nucleus == 0u || mass < params.top_p * total) {
        mass += exp(max(kept_score[nucleus] - top, -80.0));
        nucleus += 1u;
    }
    let drawn = mass * uniform_random(next_span.seed, next_span.step, 0xffffffffu);
    var sum = 0.0;
    for (var n = 0u; n < nucleus; n += 1u) {
        sum += exp(max(kept_score[n] - top, -80.0));
        if drawn < sum {
            return n;
        }
    }
    return nucleus - 1u;
}
