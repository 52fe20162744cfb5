// Splits the fused projections into heads, norms and rotates Q and K, and puts K and V where attention reads them.
// One workgroup per (row, head), the H query heads first, then G key heads, then G value heads.
// Needs: head_scale, head_weight (qk_norm/*), rotation_pair (rotate/*), span. Constants: HEAD_DIM, TO_CACHE.
struct Params {
    heads: u32,
    kv_heads: u32,
    rotary_dim: u32,    // leading elements of a head that turn; 0: none
    slots: u32,         // rows per head of the K and V destinations
    eps: f32,           // of the head norm
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> qkv: array<f32>;                 // [rows, (H + 2G) HEAD_DIM]
@group(0) @binding(3) var<storage, read> rope_table: array<vec2<f32>>;    // [positions, rotary_dim / 2]: cos, sin
@group(0) @binding(4) var<storage, read_write> q_out: array<f32>;         // [rows, H, HEAD_DIM]
@group(0) @binding(5) var<storage, read_write> k_out: array<f32>;         // [G, slots, HEAD_DIM]
@group(0) @binding(6) var<storage, read_write> v_out: array<f32>;         // [G, slots, HEAD_DIM]
const WORKGROUP_SIZE: u32 = 64u;

var<workgroup> head: array<f32, HEAD_DIM>;

fn run(workgroup: u32, lane: u32) {
    let all_heads = params.heads + 2u * params.kv_heads;
    let row = workgroup / all_heads;
    if row >= span.rows {
        return;
    }
    let h = workgroup % all_heads;
    let is_query = h < params.heads;
    let is_value = h >= params.heads + params.kv_heads;

    var square = 0.0;
    for (var d = lane; d < HEAD_DIM; d += WORKGROUP_SIZE) {
        let value = qkv[workgroup * HEAD_DIM + d];
        head[d] = value;
        square += value * value;
    }
    let scale = head_scale(square, lane);
    workgroupBarrier();

    let position = span.position + row;
    // Into the cache by position, so that a ring wraps; into a chunk's own buffer by row.
    let slot = select(row, position % params.slots, TO_CACHE);
    for (var d = lane; d < HEAD_DIM; d += WORKGROUP_SIZE) {
        if is_query {
            q_out[(row * params.heads + h) * HEAD_DIM + d] = turned(d, position, 0u, scale);
        } else if is_value {
            let kv_head = h - params.heads - params.kv_heads;
            v_out[(kv_head * params.slots + slot) * HEAD_DIM + d] = head[d];
        } else {
            let kv_head = h - params.heads;
            k_out[(kv_head * params.slots + slot) * HEAD_DIM + d] = turned(d, position, 1u, scale);
        }
    }
}

// Element d of the normed head, rotated by its position (arXiv 2104.09864, section 3.2).
fn turned(d: u32, position: u32, which: u32, scale: f32) -> f32 {
    let value = head[d] * scale * head_weight(which, d);
    if d >= params.rotary_dim {
        return value;
    }
    let pair = rotation_pair(d);
    let other = head[pair.partner] * scale * head_weight(which, pair.partner);
    let angle = rope_table[position * (params.rotary_dim / 2u) + pair.index];
    return value * angle.x + pair.sign * other * angle.y;
}
