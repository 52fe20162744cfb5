// Second half of sampling: merges the runs' best, keeps the nucleus, draws one token, and moves the sequence on: the
// token becomes the next call's input, and the span its row. One workgroup for a sequence: it reads little more than what it
// keeps.
// Needs: better and workgroup_argmax (reduce/argmax), workgroup_sum (reduce/workgroup), uniform_random (common/random),
// Span (common/span_struct).
// Constants: WORKGROUP_SIZE, KEPT, RUN, MAX_RUNS, RENORMALIZE.
struct Params {
    vocab_size: u32,
    max_samples: u32,
    top_p: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> best: array<vec4<f32>>;          // [sequences, runs, KEPT]: score, token, exp sum, 0
@group(0) @binding(3) var<storage, read_write> token_ids: array<u32>;     // [all sequences]
@group(0) @binding(4) var<storage, read_write> samples: array<u32>;       // [all sequences, max_samples]
@group(0) @binding(5) var<storage, read_write> next_span: Span;
const RUNS_PER_LANE: u32 = MAX_RUNS / WORKGROUP_SIZE;

// Lanes take the runs in turn. Of each of its runs a lane knows how many are taken, which is where its head stands.
var<private> taken: array<u32, RUNS_PER_LANE>;
var<workgroup> kept_weight: array<f32, KEPT>;
var<workgroup> kept_token: array<u32, KEPT>;
var<workgroup> is_full: bool;
var<private> sampled: u32;                  // which of the call's sequences

fn run(workgroup: u32, lane: u32) {
    sampled = workgroup;
    let most = min(KEPT, params.vocab_size);
    var head = best_head(lane);
    var found = workgroup_argmax(head, lane);
    let top = found.value;
    var whole = 0.0;
    if !RENORMALIZE {
        whole = workgroup_sum(exp_sum(lane, top), lane);
    }
    var mass = 0.0;
    var kept = 0u;
    loop {
        let weight = exp(max(found.value - top, -80.0));
        mass += weight;
        if lane == 0u {
            kept_weight[kept] = weight;
            kept_token[kept] = found.index;
            is_full = kept + 1u == most || (!RENORMALIZE && mass >= params.top_p * whole);
        }
        kept += 1u;
        if workgroupUniformLoad(&is_full) {
            break;
        }
        if head.index == found.index {
            taken[found.index / RUN / WORKGROUP_SIZE] += 1u;
            head = best_head(lane);
        }
        found = workgroup_argmax(head, lane);
    }
    if lane == 0u {
        move_on(kept_token[draw(kept, select(whole, mass, RENORMALIZE))]);
    }
}

// The next call has one row of each sequence.
fn move_on(token: u32) {
    let span = next_span.each[sampled];
    if sampled >= next_span.sequences || span.step == UNSAMPLED {
        return;
    }
    token_ids[span.sequence] = token;
    samples[span.sequence * params.max_samples + min(span.step, params.max_samples - 1u)] = token;
    next_span.each[sampled].first_row = sampled;
    next_span.each[sampled].rows = 1u;
    next_span.each[sampled].position = span.position + span.rows;
    next_span.each[sampled].step = span.step + 1u;
    if sampled == 0u {
        next_span.rows = next_span.sequences;
        next_span.first_output = 0u;
    }
}

fn run_count() -> u32 {
    return (params.vocab_size + RUN - 1u) / RUN;
}

// The best of the heads of this lane's runs. What fills up a short run comes last and is not reached.
fn best_head(lane: u32) -> Candidate {
    var found = Candidate(-3.4e38, 0xffffffffu);
    for (var run = lane; run < run_count(); run += WORKGROUP_SIZE) {
        let n = taken[run / WORKGROUP_SIZE];
        if n < KEPT {
            let entry = best[(sampled * run_count() + run) * KEPT + n];
            found = better(found, Candidate(entry.x, u32(entry.y)));
        }
    }
    return found;
}

// This lane's runs' part of the whole softmax's denominator.
fn exp_sum(lane: u32, top: f32) -> f32 {
    var sum = 0.0;
    for (var run = lane; run < run_count(); run += WORKGROUP_SIZE) {
        let entry = best[(sampled * run_count() + run) * KEPT];
        sum += entry.z * exp(max(entry.x - top, -80.0));
    }
    return sum;
}

// Index of the drawn candidate: the shortest prefix that holds top_p of the whole, one of it by weight.
fn draw(kept: u32, whole: f32) -> u32 {
    var mass = 0.0;
    var nucleus = 0u;
    while nucleus < kept && (nucleus == 0u || mass < params.top_p * whole) {
        mass += kept_weight[nucleus];
        nucleus += 1u;
    }
    let drawn = mass * uniform_random(next_span.each[sampled].seed, next_span.each[sampled].step, 0xffffffffu);
    var sum = 0.0;
    for (var n = 0u; n < nucleus; n += 1u) {
        sum += kept_weight[n];
        if drawn < sum {
            return n;
        }
    }
    return nucleus - 1u;
}
