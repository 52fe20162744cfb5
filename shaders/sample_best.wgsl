// First half of sampling: the `KEPT` best of every `RUN` logits of each sequence, best first, ties to the lower token. One
// workgroup per run.
// Needs: keep (keep/*), score (score/*), span. Constants: RUN.
struct Params {
    vocab_size: u32,
    inverse_temperature: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [outputs, vocab_size]
@group(0) @binding(3) var<storage, read_write> best: array<vec4<f32>>;    // [sequences, runs, KEPT]: score, token, exp sum, 0
const WORKGROUP_SIZE: u32 = 256u;
const LEAST: f32 = -3.4e38;                 // no score is below: see candidate

var<private> sampled: u32;                  // which of the call's sequences

fn run(workgroup: u32, lane: u32) {
    let runs = (params.vocab_size + RUN - 1u) / RUN;
    sampled = workgroup / runs;
    if sampled >= span.sequences {
        return;
    }
    let first = (workgroup % runs) * RUN;
    keep(workgroup, first, min(first + RUN, params.vocab_size), lane);
}

fn logit(token: u32) -> f32 {
    return logits[(span.first_output + sampled) * params.vocab_size + token];
}

// What stands for a token beyond the run is no better than any other and has a higher token, and so comes last.
fn candidate(token: u32, end: u32) -> Candidate {
    var value = LEAST;
    if token < end {
        value = max(score(token), LEAST);
    }
    return Candidate(value, token);
}
