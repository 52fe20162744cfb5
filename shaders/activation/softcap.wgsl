// cap * tanh(scale * x / cap), on the final logits (arXiv 2408.00118, section 2).
// Needs: safe_tanh, params.softcap, params.logit_scale.
fn activate(x: f32) -> f32 {
    return params.softcap * safe_tanh(params.logit_scale * x / params.softcap);
}
