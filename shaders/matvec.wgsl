// Matrix-vector product: y[r, n] = epilogue(sum_k w[n, k] * norm(x[r, k])), for few rows r.
// A workgroup computes 4 neighbouring outputs of one row; its lanes stride over the inputs, four at a time.
// Needs: decode4 (codec/*), load4 (linear/input), norm_prepare, norm4 (norm/*), row_count, row_site (rows/*),
// store4 (epilogue/*), workgroup_sum4 (reduce/*). Constants: WORKGROUP_SIZE, OUTPUTS.
const_assert OUTPUTS == 4u;                 // the lanes of a vec4

fn run(workgroup: u32, lane: u32) {
    let tiles = (params.out_features + OUTPUTS - 1u) / OUTPUTS;
    let row = workgroup / tiles;
    if row >= row_count() {
        return;
    }
    let site = row_site(row);
    let n = (workgroup % tiles) * OUTPUTS;
    let w = site.expert * params.out_features + n;
    // The last tile may be short: it reads its last row again, and store4 drops the surplus.
    let last = params.out_features - n - 1u;

    norm_prepare(site.input, lane);
    var acc = vec4<f32>();
    for (var quad = lane; 4u * quad < params.in_features; quad += WORKGROUP_SIZE) {
        let v = norm4(load4(site.input, quad), quad);
        acc += vec4<f32>(
            dot(decode4(w, quad), v),
            dot(decode4(w + min(1u, last), quad), v),
            dot(decode4(w + min(2u, last), quad), v),
            dot(decode4(w + min(3u, last), quad), v),
        );
    }
    acc = workgroup_sum4(acc, lane);
    if lane == 0u {
        store4(site.output, site.expert, n, acc);
    }
}
