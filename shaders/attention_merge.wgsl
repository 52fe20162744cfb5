// Joins the parts of a split attention: o = sum_i e^(m_i - m) o_i / sum_i e^(m_i - m) l_i, parts in order.
// One workgroup per (row, query head); lanes over the elements. Needs: first_visible, key_end (reach/*), with_sink (sinks/*), position_of (common/span).
struct Params {
    heads: u32,
    head_dim: u32,
    reach: u32,
    split_keys: u32,
    max_splits: u32,
    slots: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> parts: array<f32>;               // [rows H, max_splits, head_dim + 2]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;           // [rows, H, head_dim]
const WORKGROUP_SIZE: u32 = 64u;

fn run(head: u32, lane: u32) {
    let row = head / params.heads;
    if row >= span.rows {
        return;
    }
    let position = position_of(row);
    let first = first_visible(position, params.reach);
    let splits = (max(key_end(position), 1u) - 1u) / params.split_keys - first / params.split_keys + 1u;
    let stride = params.head_dim + 2u;
    let base = head * params.max_splits * stride;

    var max_score = parts[base + params.head_dim];
    for (var i = 1u; i < splits; i += 1u) {
        max_score = max(max_score, parts[base + i * stride + params.head_dim]);
    }
    for (var d = lane; d < params.head_dim; d += WORKGROUP_SIZE) {
        var sum = 0.0;
        var weight = 0.0;
        for (var i = 0u; i < splits; i += 1u) {
            let at = base + i * stride;
            let rescale = exp(max(parts[at + params.head_dim] - max_score, -80.0));
            sum += rescale * parts[at + d];
            weight += rescale * parts[at + params.head_dim + 1u];
        }
        let all = with_sink(head % params.heads, max_score, weight);
        out[head * params.head_dim + d] = select(0.0, sum * all.x / max(all.y, 1e-30), weight > 0.0);
    }
}
