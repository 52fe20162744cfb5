// The logit over the temperature.
fn score(token: u32) -> f32 {
    return logits[token] * params.inverse_temperature;
}
