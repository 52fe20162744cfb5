// Keeps the `KEPT` best of a run, and the sum of exp(score - best) over all of it, from which sample_pick has the whole
// softmax without reading the logits again. A bitonic sort in workgroup memory (Batcher 1968).
// Needs: candidate, better (reduce/argmax), workgroup_sum (reduce/*). RUN is a power of two.
var<workgroup> sorted: array<Candidate, RUN>;

fn keep(run: u32, first: u32, end: u32, lane: u32) {
    for (var i = lane; i < RUN; i += WORKGROUP_SIZE) {
        sorted[i] = candidate(first + i, end);
    }
    workgroupBarrier();
    sort(lane);
    let top = sorted[0].value;
    var sum = 0.0;
    for (var i = lane; i < end - first; i += WORKGROUP_SIZE) {
        sum += exp(max(sorted[i].value - top, -80.0));
    }
    let exp_sum = workgroup_sum(sum, lane);
    for (var i = lane; i < KEPT; i += WORKGROUP_SIZE) {
        best[run * KEPT + i] = vec4<f32>(sorted[i].value, f32(sorted[i].index), exp_sum, 0.0);
    }
}

// Joins sorted neighbours until one is left. The first comparison of a join takes the second neighbour backwards, so
// that all comparisons put the better first.
fn sort(lane: u32) {
    for (var size = 2u; size <= RUN; size *= 2u) {
        for (var stride = size / 2u; stride > 0u; stride /= 2u) {
            for (var pair = lane; pair < RUN / 2u; pair += WORKGROUP_SIZE) {
                let offset = pair % stride;
                let start = 2u * (pair - offset);
                let backwards = 2u * stride == size;
                order(start + offset, start + stride + select(offset, stride - 1u - offset, backwards));
            }
            workgroupBarrier();
        }
    }
}

fn order(i: u32, j: u32) {
    let a = sorted[i];
    let b = sorted[j];
    if better(a, b).index == b.index {
        sorted[i] = b;
        sorted[j] = a;
    }
}
