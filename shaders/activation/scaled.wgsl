// scale * x, on the final logits. Needs: params.scale.
fn activate(x: f32) -> f32 {
    return params.scale * x;
}
