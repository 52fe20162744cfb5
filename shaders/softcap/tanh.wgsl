// cap * tanh(z / cap) on the scaled score, before the mask (arXiv 2408.00118, section 2). Needs: safe_tanh.
fn softcap(z: f32) -> f32 {
    return params.softcap * safe_tanh(z / params.softcap);
}
