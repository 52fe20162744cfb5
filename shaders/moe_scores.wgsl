// The softmax over the experts of each token's logits. One workgroup per token; lanes stride over the experts.
// Needs: weight_prepare, score_of (expert_weight/*), span. Constants: EXPERTS.
struct Params { logit_stride: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [rows, logit_stride]
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;        // [rows, EXPERTS]
const WORKGROUP_SIZE: u32 = 64u;
const LOWEST: f32 = -3.2e38;                // of a logit; minus infinity and NaN count as it, infinity as its opposite
const TAKEN: f32 = -3.4e38;

fn logit_at(row: u32, expert: u32) -> f32 {
    let logit = logits[row * params.logit_stride + expert];
    let is_nan = (bitcast<u32>(logit) & 0x7fffffffu) > 0x7f800000u;
    return select(clamp(logit, LOWEST, -LOWEST), LOWEST, is_nan);
}

fn run(row: u32, lane: u32) {
    if row >= span.rows {
        return;
    }
    weight_prepare(row, lane);
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        scores[row * EXPERTS + e] = score_of(logit_at(row, e));
    }
}
