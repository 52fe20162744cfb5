// Four neighbouring inputs of each of four rows, a column for each row; every lane reads all of them.
// Needs: rows4 (block/rows4), load4 (linear/input*).
fn rows4_load(row: u32, quad: u32) -> mat4x4<f32> {
    let rows = rows4(row);
    return mat4x4<f32>(load4(rows.x, quad), load4(rows.y, quad), load4(rows.z, quad), load4(rows.w, quad));
}
