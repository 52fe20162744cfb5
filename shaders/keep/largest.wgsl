// Keeps the largest of a run. Nobody asks for its share of the softmax, and so its exp sum is left out.
// Needs: candidate, better and workgroup_argmax (reduce/argmax). Constants: KEPT.
const_assert KEPT == 1u;

fn keep(run: u32, first: u32, end: u32, lane: u32) {
    var found = candidate(first + lane, end);
    for (var token = first + lane + WORKGROUP_SIZE; token < end; token += WORKGROUP_SIZE) {
        found = better(found, candidate(token, end));
    }
    found = workgroup_argmax(found, lane);
    if lane == 0u {
        best[run] = vec4<f32>(found.value, f32(found.index), 0.0, 0.0);
    }
}
