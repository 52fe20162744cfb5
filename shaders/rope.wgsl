// Splits the fused projections into heads, norms, clamps and rotates Q and K, and puts K and V where attention reads them.
// One workgroup per (row, head), the H query heads first, then G key heads, then G value heads.
// Needs: head_scale, normed (qk_norm/*), rotation_pair (rotate/*), destination_row (heads_to/*), store_row (kv_store/*), span,
// position_of (common/span). Constants: HEAD_DIM, V_IS_K, V_NORM.
struct Params {
    heads: u32,
    kv_heads: u32,              // 0: there are queries alone
    rotary_dim: u32,            // leading elements of a head that turn; 0: none
    slots: u32,                 // rows per head of the K and V destinations, or of a page
    pages: u32,                 // that a sequence may have
    eps: f32,                   // of the head norm
    clip: f32,                  // largest magnitude
    temperature_scale: f32,     // how queries grow with their position; 0: not at all
    temperature_floor: u32,     // positions that are alike to them
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> qkv: array<f32>;                 // [rows, (H + 2G) HEAD_DIM], (H + G) if V_IS_K
@group(0) @binding(3) var<storage, read> rope_table: array<vec2<f32>>;    // [positions, rotary_dim / 2]: cos, sin
@group(0) @binding(4) var<storage, read_write> q_out: array<f32>;         // [rows, H, HEAD_DIM]
const WORKGROUP_SIZE: u32 = 64u;

var<workgroup> head: array<f32, HEAD_DIM>;
var<workgroup> stored_head: array<f32, HEAD_DIM>;

fn run(workgroup: u32, lane: u32) {
    let all_heads = params.heads + 2u * params.kv_heads;
    let row = workgroup / all_heads;
    if row >= span.rows {
        return;
    }
    let h = workgroup % all_heads;
    let is_query = h < params.heads;
    let is_value = h >= params.heads + params.kv_heads;
    let stored_heads = all_heads - select(0u, params.kv_heads, V_IS_K);
    let stored = h - select(0u, params.kv_heads, V_IS_K && is_value);

    var square = 0.0;
    for (var d = lane; d < HEAD_DIM; d += WORKGROUP_SIZE) {
        let value = qkv[(row * stored_heads + stored) * HEAD_DIM + d];
        head[d] = value;
        square += value * value;
    }
    // Of the projection of all heads like this one.
    let first = select(params.heads, 0u, is_query);
    let count = select(params.kv_heads, params.heads, is_query);
    let scale = head_scale(square, (row * stored_heads + first) * HEAD_DIM, count, lane);
    workgroupBarrier();

    let position = position_of(row);
    let kv_head = (h - min(h, params.heads)) % params.kv_heads;
    for (var d = lane; d < HEAD_DIM; d += WORKGROUP_SIZE) {
        if is_query {
            let q = turned(d, position, Scales(0u, h, scale));
            q_out[(row * params.heads + h) * HEAD_DIM + d] = q * temperature(position);
        } else if is_value {
            stored_head[d] = clipped(head[d] * select(1.0, scale, V_NORM));
        } else {
            stored_head[d] = turned(d, position, Scales(1u, kv_head, scale));
        }
    }
    workgroupBarrier();
    if !is_query {
        store_row(is_value, destination_row(row, kv_head, position), lane);
    }
}

// The norm of a head: Q's or K's, which head, and the common scale.
struct Scales { which: u32, head: u32, scale: f32 }

fn clipped(value: f32) -> f32 {
    return clamp(value, -params.clip, params.clip);
}

// What a query is multiplied by (arXiv 2501.19399).
fn temperature(position: u32) -> f32 {
    if params.temperature_floor == 0u {
        return 1.0;
    }
    return 1.0 + params.temperature_scale * log(1.0 + f32((position + 1u) / params.temperature_floor));
}

// Element d of the normed head, rotated by its position (arXiv 2104.09864, section 3.2).
fn turned(d: u32, position: u32, scales: Scales) -> f32 {
    let value = clipped(normed(d, scales));
    if d >= params.rotary_dim {
        return value;
    }
    let pair = rotation_pair(d);
    let other = clipped(normed(pair.partner, scales));
    let angle = rope_table[position * (params.rotary_dim / 2u) + pair.index];
    return value * angle.x + pair.sign * other * angle.y;
}
