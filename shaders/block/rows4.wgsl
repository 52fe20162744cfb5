// Four neighbouring rows of a block: a column for each row of inputs, and for each output of sums. Rows past the last row
// of the call are the last one again, and are not stored.
// Needs: row_count (rows/dense), load4 (linear/input*), store4 (epilogue/*), workgroup_sum4 (reduce/*).
fn rows4_load(row: u32, quad: u32) -> mat4x4<f32> {
    let rows = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(row_count() - 1u));
    return mat4x4<f32>(load4(rows.x, quad), load4(rows.y, quad), load4(rows.z, quad), load4(rows.w, quad));
}

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

fn rows4_reduce(value: mat4x4<f32>, lane: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        workgroup_sum4(value[0], lane),
        workgroup_sum4(value[1], lane),
        workgroup_sum4(value[2], lane),
        workgroup_sum4(value[3], lane),
    );
}

fn rows4_store(row: u32, n: u32, sum: mat4x4<f32>) {
    let by_row = transpose(sum);
    for (var r = 0u; r < 4u && row + r < row_count(); r += 1u) {
        store4(row + r, 0u, n, by_row[r]);
    }
}
