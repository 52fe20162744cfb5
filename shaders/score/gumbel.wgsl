// The logit over the temperature plus Gumbel noise, -log(-log(1 - u)): the largest is a sample of the softmax
// (Gumbel 1954). Needs: uniform_random (common/random), span.
fn score(token: u32) -> f32 {
    let noise = -log(exponential(uniform_random(span.each[sampled].seed, span.each[sampled].step, token)));
    return logit(token) * params.inverse_temperature + noise;
}

// -log(1 - u). Near 1 a device's log is good to 2^-21 only, which may be more than its value, and the largest noise
// comes from there; so small u take the series.
fn exponential(u: f32) -> f32 {
    if u < 0.03 {
        return u * (1.0 + u * (0.5 + u * (0.33333333 + u * 0.25)));
    }
    return -log(1.0 - u);
}
