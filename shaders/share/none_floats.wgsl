// Four neighbouring inputs of each of four rows, a column for each row; every lane reads all of them.
// Needs: load4 (linear/input*).
fn rows4_load(rows: vec4<u32>, quad: u32) -> mat4x4<f32> {
    return mat4x4<f32>(load4(rows.x, quad), load4(rows.y, quad), load4(rows.z, quad), load4(rows.w, quad));
}
