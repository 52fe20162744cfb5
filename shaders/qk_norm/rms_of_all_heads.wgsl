// RMSNorm over all heads of Q, and of K, together, before the rotation (OLMoE, arXiv 2409.02060). Every head adds up all.
// Needs: qkv, head, Scales, workgroup_sum (reduce/*), params.eps, params.heads, WORKGROUP_SIZE. Constants: HEAD_DIM.
@group(0) @binding(7) var<storage, read> head_norm: array<f32>;           // [H + G, HEAD_DIM]: Q's scale, K's scale

fn head_scale(square: f32, first: u32, heads: u32, lane: u32) -> f32 {
    var all = 0.0;
    for (var i = lane; i < heads * HEAD_DIM; i += WORKGROUP_SIZE) {
        let value = qkv[first + i];
        all += value * value;
    }
    return inverseSqrt(workgroup_sum(all, lane) / f32(heads * HEAD_DIM) + params.eps);
}

fn normed(d: u32, scales: Scales) -> f32 {
    return head[d] * scales.scale * head_norm[(scales.which * params.heads + scales.head) * HEAD_DIM + d];
}
