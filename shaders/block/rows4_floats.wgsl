// Inputs of four rows, a column for each.
fn rows4_sum(a: mat4x4<f32>, b: mat4x4<f32>, c: mat4x4<f32>, d: mat4x4<f32>) -> vec4<f32> {
    return vec4<f32>(1.0) * (a + b + c + d);
}

fn rows4_scale(products: mat4x4<f32>, sum: vec4<f32>, scale: mat4x2<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        products[0] * scale[0].x - sum * scale[0].y,
        products[1] * scale[1].x - sum * scale[1].y,
        products[2] * scale[2].x - sum * scale[2].y,
        products[3] * scale[3].x - sum * scale[3].y,
    );
}
