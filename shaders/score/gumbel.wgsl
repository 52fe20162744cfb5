// The logit over the temperature plus Gumbel noise: the largest is a sample of the softmax (Gumbel 1954).
// Needs: uniform_random (common/random), span.
fn score(token: u32) -> f32 {
    let noise = -log(-log(uniform_random(span.seed, span.step, token)));
    return logits[token] * params.inverse_temperature + noise;
}
