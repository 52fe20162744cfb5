// cap * tanh(scale x / cap), on the final logits (arXiv 2408.00118, section 2). Needs: safe_tanh, params.scale, params.softcap.
fn activate(x: f32) -> f32 {
    return params.softcap * safe_tanh(params.scale * x / params.softcap);
}
