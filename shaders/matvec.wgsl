// Matrix-vector product: y[r, n] = epilogue(sum_k w[n, k] * norm(x[r, k])), for few rows r.
// A team of lanes computes OUTPUTS neighbouring outputs of ROWS rows; its lanes stride over the inputs, 16 at a time, so
// that a weight is decoded once for all rows. A team is one lane or the workgroup.
// Needs: stored16, dequantize (codec/*), load4 (linear/input*), norm_prepare, norm4 (norm/*), row_count, row_site (rows/*),
// store4 (epilogue/*), team_sum4 (team/*). Constants: WORKGROUP_SIZE, TEAM, OUTPUTS, ROWS.
const TEAMS: u32 = WORKGROUP_SIZE / TEAM;
const FOURS: u32 = OUTPUTS / 4u;            // outputs in fours, the lanes of a vec4
const_assert OUTPUTS % 4u == 0u && (TEAM == 1u || TEAM == WORKGROUP_SIZE);

fn run(workgroup: u32, lane: u32) {
    let tiles = (params.out_features + TEAMS * OUTPUTS - 1u) / (TEAMS * OUTPUTS);
    let row = (workgroup / tiles) * ROWS;
    let rows = row_count();
    if row >= rows {
        return;
    }
    // Rows past the last read the last one again, and are not stored.
    var sites: array<RowSite, ROWS>;
    for (var r = 0u; r < ROWS; r += 1u) {
        sites[r] = row_site(min(row + r, rows - 1u));
    }
    let n = ((workgroup % tiles) * TEAMS + lane / TEAM) * OUTPUTS;
    let w = sites[0].expert * params.out_features;
    // The last tile may be short: it reads the last output's weights again, and store4 drops the surplus.
    let last = params.out_features - 1u;

    norm_prepare(sites[0].input, lane);
    var acc: array<vec4<f32>, ROWS * FOURS>;
    for (var piece = lane % TEAM; 16u * piece < params.in_features; piece += TEAM) {
        var x16: array<mat4x4<f32>, ROWS>;
        var x_sum: array<f32, ROWS>;
        for (var r = 0u; r < ROWS; r += 1u) {
            var sum = vec4<f32>();
            for (var q = 0u; q < 4u; q += 1u) {
                let v = norm4(load4(sites[r].input, 4u * piece + q), 4u * piece + q);
                x16[r][q] = v;
                sum += v;
            }
            x_sum[r] = dot(sum, vec4<f32>(1.0));
        }
        for (var four = 0u; four < FOURS; four += 1u) {
            var products: array<vec4<f32>, ROWS>;
            for (var i = 0u; i < 4u; i += 1u) {
                let w_row = w + min(n + 4u * four + i, last);
                let w16 = stored16(w_row, piece);
                for (var r = 0u; r < ROWS; r += 1u) {
                    products[r][i] = dequantize(w_row, piece, dot16(w16, x16[r]), x_sum[r]);
                }
            }
            for (var r = 0u; r < ROWS; r += 1u) {
                acc[r * FOURS + four] += products[r];
            }
        }
    }
    for (var r = 0u; r < ROWS; r += 1u) {
        for (var four = 0u; four < FOURS; four += 1u) {
            let sum = team_sum4(acc[r * FOURS + four], lane);
            if lane % TEAM == 0u && row + r < rows && n + 4u * four <= last {
                store4(sites[r].output, sites[r].expert, n + 4u * four, sum);
            }
        }
    }
}

fn dot16(a: mat4x4<f32>, b: mat4x4<f32>) -> f32 {
    return dot(a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3], vec4<f32>(1.0));
}
