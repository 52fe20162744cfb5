// The largest value over the workgroup and its index; ties go to the lower index. Every lane gets it.
// Needs: WORKGROUP_SIZE, a power of two. Call from uniform control flow.
struct Candidate { value: f32, index: u32 }

var<workgroup> argmax_scratch: array<Candidate, WORKGROUP_SIZE>;

fn better(a: Candidate, b: Candidate) -> Candidate {
    if b.value > a.value || (b.value == a.value && b.index < a.index) {
        return b;
    }
    return a;
}

fn workgroup_argmax(candidate: Candidate, lane: u32) -> Candidate {
    argmax_scratch[lane] = candidate;
    workgroupBarrier();
    for (var stride = WORKGROUP_SIZE / 2u; stride > 0u; stride /= 2u) {
        if lane < stride {
            argmax_scratch[lane] = better(argmax_scratch[lane], argmax_scratch[lane + stride]);
        }
        workgroupBarrier();
    }
    let best = argmax_scratch[0];
    workgroupBarrier();
    return best;
}
