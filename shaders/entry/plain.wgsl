// Grids above 65 535 workgroups are folded into a second dimension; `run` sees one index.
// Constants: WORKGROUP_SIZE.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    run(workgroup.x + workgroup.y * grid.x, lane);
}
