// As share/none_floats where all lanes want the same: each reads one of the rows, and hands it round its subgroup, which
// has at least four lanes. Needs: load4 (linear/input*), entry/subgroup. Call from uniform control flow.
fn rows4_load(rows: vec4<u32>, quad: u32) -> mat4x4<f32> {
    let mine = load4(rows[subgroup_lane % 4u], quad);
    return mat4x4<f32>(
        subgroupBroadcast(mine, 0u),
        subgroupBroadcast(mine, 1u),
        subgroupBroadcast(mine, 2u),
        subgroupBroadcast(mine, 3u),
    );
}
