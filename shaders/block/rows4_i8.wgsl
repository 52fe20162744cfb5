// Codes of four neighbouring rows' inputs. Needs: rows4 (block/rows4), input_block (linear/input_blocks), row_dot (step/i8).
fn rows4_dot(row: u32, step: u32, w: Codes) -> mat4x4<f32> {
    let rows = rows4(row);
    return transpose(mat4x4<f32>(
        row_dot(input_block(rows.x, step), w),
        row_dot(input_block(rows.y, step), w),
        row_dot(input_block(rows.z, step), w),
        row_dot(input_block(rows.w, step), w),
    ));
}
