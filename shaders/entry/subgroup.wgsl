// As entry/plain, and keeps where this lane stands among the subgroups for reduce/subgroup. Needs: run.
// Constants: WORKGROUP_SIZE.
var<private> subgroup_index: u32;
var<private> subgroup_count: u32;
var<private> subgroup_lane: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup_id: u32,
    @builtin(num_subgroups) num_subgroups: u32,
    @builtin(subgroup_invocation_id) subgroup_invocation_id: u32,
) {
    subgroup_index = subgroup_id;
    subgroup_count = num_subgroups;
    subgroup_lane = subgroup_invocation_id;
    run(workgroup.x + workgroup.y * grid.x, lane);
}
