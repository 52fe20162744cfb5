// x * sigmoid(x). The argument of exp is never positive, so that it cannot overflow.
fn activate(x: f32) -> f32 {
    let t = exp(-abs(x));
    return x * select(t, 1.0, x >= 0.0) / (1.0 + t);
}
