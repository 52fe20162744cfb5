// Codes of four rows' inputs. Needs: rows4_blocks (share/*_i8), row_dot (step/i8).
fn rows4_dot(rows: vec4<u32>, step: u32, w: Codes) -> mat4x4<f32> {
    let x = rows4_blocks(rows, step);
    return transpose(mat4x4<f32>(row_dot(x.a, w), row_dot(x.b, w), row_dot(x.c, w), row_dot(x.d, w)));
}
