// The logit over the temperature.
fn score(token: u32) -> f32 {
    return logit(token) * params.inverse_temperature;
}
