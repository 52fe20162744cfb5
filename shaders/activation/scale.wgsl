// On the final logits. Needs: params.logit_scale.
fn activate(x: f32) -> f32 {
    return params.logit_scale * x;
}
