// Four neighbouring rows of a block: a column of sums for each output. Rows past the last row of the call are the last
// one again, and are not stored. Needs: row_count (rows/dense), store4 (epilogue/*), workgroup_sum4 (reduce/*).
fn rows4(row: u32) -> vec4<u32> {
    return min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(row_count() - 1u));
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
