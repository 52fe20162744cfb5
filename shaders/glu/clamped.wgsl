// (up + 1) * gate * sigmoid(alpha * gate), both clamped first (gpt-oss, arXiv 2508.10925). The argument of exp is never
// positive, so that it cannot overflow.
fn glu(gate: f32, up: f32) -> f32 {
    let g = min(gate, params.glu_limit);
    let z = params.glu_alpha * g;
    let t = exp(-abs(z));
    return (clamp(up, -params.glu_limit, params.glu_limit) + 1.0) * g * select(t, 1.0, z >= 0.0) / (1.0 + t);
}
