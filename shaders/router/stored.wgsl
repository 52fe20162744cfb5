// Logits that a product has left, one token to a workgroup.
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [rows, logit_stride]
const TOKENS: u32 = 1u;

fn compute_logits(first: u32, lane: u32) {}
