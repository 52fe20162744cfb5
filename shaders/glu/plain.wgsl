// Gated product (arXiv 2002.05202). Needs: activate (activation/*).
fn glu(gate: f32, up: f32) -> f32 {
    return activate(gate) * up;
}
