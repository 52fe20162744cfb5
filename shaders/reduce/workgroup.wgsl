// Sum over the workgroup, as a tree in workgroup memory. Every lane gets the result.
// Needs: WORKGROUP_SIZE, a power of two. Call from uniform control flow.
var<workgroup> reduce_scratch: array<vec4<f32>, WORKGROUP_SIZE>;

fn workgroup_sum4(value: vec4<f32>, lane: u32) -> vec4<f32> {
    reduce_scratch[lane] = value;
    workgroupBarrier();
    for (var stride = WORKGROUP_SIZE / 2u; stride > 0u; stride /= 2u) {
        if lane < stride {
            reduce_scratch[lane] += reduce_scratch[lane + stride];
        }
        workgroupBarrier();
    }
    let total = reduce_scratch[0];
    workgroupBarrier();
    return total;
}

fn workgroup_sum(value: f32, lane: u32) -> f32 {
    return workgroup_sum4(vec4<f32>(value, 0.0, 0.0, 0.0), lane).x;
}
