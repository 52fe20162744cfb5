// Keeps the `KEPT` best of a run, and the sum of exp(score - best) over all of it, from which sample_pick has the whole
// softmax without reading the logits again. A bitonic sort in workgroup memory (Batcher 1968), of no more than must be
// sorted. Needs: candidate, better (reduce/argmax), workgroup_sum (reduce/*).
// Constants: BLOCK, a power of two, at least KEPT. RUN is one too, and at least WORKGROUP_SIZE.
const PER_LANE: u32 = RUN / WORKGROUP_SIZE;
const_assert KEPT <= BLOCK && BLOCK <= RUN;

var<workgroup> sorted: array<Candidate, RUN>;

fn keep(run: u32, first: u32, end: u32, lane: u32) {
    var scores: array<f32, PER_LANE>;
    for (var n = 0u; n < PER_LANE; n += 1u) {
        let i = n * WORKGROUP_SIZE + lane;
        sorted[i] = candidate(first + i, end);
        scores[n] = sorted[i].value;
    }
    workgroupBarrier();
    sort_best(lane);
    let top = sorted[0].value;
    var sum = 0.0;
    for (var n = 0u; n < PER_LANE; n += 1u) {
        if first + n * WORKGROUP_SIZE + lane < end {
            sum += exp(max(scores[n] - top, -80.0));
        }
    }
    let exp_sum = workgroup_sum(sum, lane);
    for (var i = lane; i < KEPT; i += WORKGROUP_SIZE) {
        best[run * KEPT + i] = vec4<f32>(sorted[i].value, f32(sorted[i].index), exp_sum, 0.0);
    }
}

// Sorts every block of `BLOCK`, then halves their number until one is left: of two sorted blocks, one backwards, the
// better of each place are the best of both, and need no more than the last steps of a sort.
fn sort_best(lane: u32) {
    for (var size = 2u; size <= BLOCK; size *= 2u) {
        // The second neighbour is taken backwards, so that all comparisons put the better first.
        order_pairs(RUN / 2u, size / 2u, true, lane);
        for (var stride = size / 4u; stride > 0u; stride /= 2u) {
            order_pairs(RUN / 2u, stride, false, lane);
        }
    }
    for (var half = RUN / 2u; half >= BLOCK; half /= 2u) {
        for (var i = lane; i < half; i += WORKGROUP_SIZE) {
            sorted[i] = better(sorted[i], sorted[half + (i ^ (BLOCK - 1u))]);
        }
        workgroupBarrier();
        for (var stride = BLOCK / 2u; stride > 0u; stride /= 2u) {
            order_pairs(half / 2u, stride, false, lane);
        }
    }
}

// Puts the better first in so many pairs, `stride` apart, or mirrored in blocks of two strides.
fn order_pairs(pairs: u32, stride: u32, mirrored: bool, lane: u32) {
    for (var pair = lane; pair < pairs; pair += WORKGROUP_SIZE) {
        let offset = pair & (stride - 1u);
        let i = 2u * pair - offset;
        let j = select(i + stride, i ^ (2u * stride - 1u), mirrored);
        let a = sorted[i];
        let b = sorted[j];
        if better(a, b).index == b.index {
            sorted[i] = b;
            sorted[j] = a;
        }
    }
    workgroupBarrier();
}
