// GELU by the tanh formula (arXiv 1606.08415). Needs: safe_tanh.
fn activate(x: f32) -> f32 {
    return 0.5 * x * (1.0 + safe_tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}
