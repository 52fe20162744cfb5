// Sum over the workgroup by subgroup additions, then over the subgroups in order. Every lane gets it.
// Needs: WORKGROUP_SIZE, and entry/subgroup. Call from uniform control flow.
var<workgroup> reduce_scratch: array<vec4<f32>, WORKGROUP_SIZE>;

fn workgroup_sum4(value: vec4<f32>, lane: u32) -> vec4<f32> {
    let partial = subgroupAdd(value);
    if subgroup_lane == 0u {
        reduce_scratch[subgroup_index] = partial;
    }
    workgroupBarrier();
    var total = vec4<f32>();
    for (var i = 0u; i < subgroup_count; i += 1u) {
        total += reduce_scratch[i];
    }
    workgroupBarrier();
    return total;
}

fn workgroup_sum(value: f32, lane: u32) -> f32 {
    return workgroup_sum4(vec4<f32>(value, 0.0, 0.0, 0.0), lane).x;
}
