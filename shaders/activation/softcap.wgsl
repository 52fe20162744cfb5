// cap * tanh(x / cap), on the final logits (arXiv 2408.00118, section 2). Needs: safe_tanh, params.softcap.
fn activate(x: f32) -> f32 {
    return params.softcap * safe_tanh(x / params.softcap);
}
