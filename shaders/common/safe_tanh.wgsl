// tanh without overflow: exp of large arguments is infinite, and NaN on some drivers.
fn safe_tanh(x: f32) -> f32 {
    let t = exp(-2.0 * abs(x));
    let y = (1.0 - t) / (1.0 + t);
    return select(-y, y, x >= 0.0);
}
