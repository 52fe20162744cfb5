// What kernels of attention are told, and where their queries are. Masked scores are flagged by MASKED, a finite number.
// Constants: HEAD_DIM.
struct Params {
    heads: u32,
    kv_heads: u32,
    slots: u32,         // rows per head of a sequence's cache, or of a page
    pages: u32,         // that a sequence may have
    chunk_slots: u32,   // rows per head of a chunk's own keys
    reach: u32,         // tokens of a window or a chunk; 0: all before it
    split_keys: u32,    // keys per workgroup where the cache is split
    max_splits: u32,    // parts there can be
    scale: f32,
    softcap: f32,
    alibi_scale: f32,   // of score_bias/alibi
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> q: array<f32>;                   // [rows, H, HEAD_DIM]
const MASKED: f32 = -1e30;

struct KeyRange { first: u32, end: u32 }

// Queries of a key/value head, from `first` on of those that one of the call's sequences has, and which part of the keys.
struct QueryTile { own: u32, kv_head: u32, first: u32, count: u32, part: u32 }

// Elements of a row from 4 quad on; beyond HEAD_DIM there is 0, whatever lies there.
fn within(elements: vec4<f32>, quad: u32) -> vec4<f32> {
    let d = vec4<u32>(0u, 1u, 2u, 3u) + 4u * quad;
    return select(vec4<f32>(0.0), elements, d < vec4<u32>(HEAD_DIM));
}

fn query_quad(row: u32, quad: u32) -> vec4<f32> {
    let at = row * HEAD_DIM + 4u * quad;
    return vec4<f32>(q[at], q[at + 1u], q[at + 2u], q[at + 3u]);
}
