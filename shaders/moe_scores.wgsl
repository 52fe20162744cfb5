// The softmax over the experts of each token's logits, written by experts. One workgroup per token; lanes stride over the experts.
// Needs: weight_prepare, score_of (expert_weight/*), number (common/logits), span. Constants: EXPERTS.
struct Params { logit_stride: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [rows, logit_stride]
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;        // [EXPERTS, rows]
const WORKGROUP_SIZE: u32 = 64u;

fn logit_at(row: u32, expert: u32) -> f32 {
    return number(logits[row * params.logit_stride + expert]);
}

fn run(row: u32, lane: u32) {
    if row >= span.rows {
        return;
    }
    weight_prepare(row, lane);
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        scores[e * span.rows + row] = score_of(logit_at(row, e));
    }
}
