// Reads everything once, and writes next to nothing. Neighbouring lanes read neighbouring words, or each has a run of its
// own: GPUs want the one, CPUs that play one the other. Constants: IN_RUNS.
@group(0) @binding(0) var<storage, read> from_memory: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> seen: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let lanes = 256u * grid.x;
    let each = arrayLength(&from_memory) / lanes;
    let first = select(id.x, id.x * each, IN_RUNS);
    let stride = select(lanes, 1u, IN_RUNS);
    var bits = vec4<u32>();
    for (var i = 0u; i < each; i += 4u) {
        let at = first + i * stride;
        bits |= from_memory[at] | from_memory[at + stride];
        bits |= from_memory[at + 2u * stride] | from_memory[at + 3u * stride];
    }
    // Never so, which no compiler knows.
    if all(bits == vec4<u32>(0x5eed5eedu)) {
        seen[0] = bits.x;
    }
}
