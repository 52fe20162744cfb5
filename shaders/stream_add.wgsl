// What a layer reads besides, normed, onto all streams but the first: y[r, a] = streams[r, a] + norm(x[r]). One workgroup per row.
// Needs: load4 (linear/input), norm_prepare, norm4 (norm/*), span, workgroup_sum. Constants: STREAMS, WORKGROUP_SIZE.
struct Params {
    in_features: u32,
    eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read> streams: array<f32>;             // [rows, A, in_features]
@group(0) @binding(7) var<storage, read_write> y: array<f32>;             // [rows, A, in_features]

fn run(row: u32, lane: u32) {
    if row >= span.rows {
        return;
    }
    norm_prepare(row, lane);
    for (var quad = lane; 4u * quad < params.in_features; quad += WORKGROUP_SIZE) {
        let v = norm4(load4(row, quad), quad);
        for (var i = 0u; i < min(4u, params.in_features - 4u * quad); i += 1u) {
            for (var stream = 0u; stream < STREAMS; stream += 1u) {
                let at = (row * STREAMS + stream) * params.in_features + 4u * quad + i;
                y[at] = streams[at] + select(v[i], 0.0, stream == 0u);
            }
        }
    }
}
