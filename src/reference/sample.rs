//! Choosing the next token.

use std::cmp::Ordering;

/// Index of the largest logit of one row; of equals the first, and NaN is never the largest. A row without
/// anything to choose from gives 0.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (i, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (i as u32, logit);
        }
    }
    best.0
}

/// Random bits from nothing but the arguments: the output permutation of PCG as a hash (Jarzynski and Olano, JCGT 9(3),
/// 2020).
pub fn random_bits(seed: u32, draw: u32, index: u32) -> u32 {
    pcg(index ^ pcg(draw ^ pcg(seed)))
}

/// A uniform number between 0 and 1, neither included, of those bits. An odd multiple of `2^-24`, and so an f32.
pub fn uniform_random(seed: u32, draw: u32, index: u32) -> f64 {
    (f64::from(random_bits(seed, draw, index) >> 9) + 0.5) / f64::from(1 << 23)
}

/// A normal number of that uniform one: its quantile, by the polynomials of Giles ("Approximating the erfinv function", GPU
/// Computing Gems, Jade edition, 2011), which are good to f32.
pub fn normal_random(seed: u32, draw: u32, index: u32) -> f64 {
    let x = 2.0 * uniform_random(seed, draw, index) - 1.0;
    let w = -((1.0 - x) * (1.0 + x)).ln();
    let horner = |factors: &[f64], w: f64| factors.iter().fold(0.0, |sum, factor| sum * w + factor);
    let p = if w < 5.0 { horner(&CENTRE, w - 2.5) } else { horner(&TAIL, w.sqrt() - 3.0) };
    std::f64::consts::SQRT_2 * p * x
}

const CENTRE: [f64; 9] = [
    2.810_226_36e-8,
    3.432_739_39e-7,
    -3.523_387_7e-6,
    -4.391_506_54e-6,
    0.000_218_580_87,
    -0.001_253_725_03,
    -0.004_177_681_64,
    0.246_640_727,
    1.501_409_41,
];

const TAIL: [f64; 9] = [
    -0.000_200_214_257,
    0.000_100_950_558,
    0.001_349_343_22,
    -0.003_673_428_44,
    0.005_739_507_73,
    -0.007_622_461_3,
    0.009_438_870_47,
    1.001_674_06,
    2.832_976_82,
];

fn pcg(value: u32) -> u32 {
    let state = value.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

/// A token's score in one draw: its logit over the temperature, in f32, plus the token's own Gumbel noise
/// `-ln(-ln(1 - u))`.
pub fn gumbel_score(logit: f32, inverse_temperature: f32, seed: u32, draw: u32, token: u32) -> f64 {
    let exponential = -(-uniform_random(seed, draw, token)).ln_1p();
    f64::from(logit * inverse_temperature) - exponential.ln()
}

/// A token drawn from `softmax(logits * inverse_temperature)`: the one with the largest [`gumbel_score`] (Gumbel 1954;
/// arXiv 2110.01515).
pub fn sample_softmax(logits: &[f32], inverse_temperature: f32, seed: u32, draw: u32) -> u32 {
    let score = |token: usize| gumbel_score(logits[token], inverse_temperature, seed, draw, token as u32);
    let better = |best: usize, token: usize| if score(token) > score(best) { token } else { best };
    (0..logits.len()).reduce(better).unwrap_or(0) as u32
}

/// The tokens that may be drawn, best first, with their probabilities under `softmax(logits * inverse_temperature)`
/// (arXiv 1805.04833; arXiv 1904.09751). At least one. Logits are finite.
///
/// Of the `kept` best, ties to the lower token, the shortest prefix that holds at least `top_p` of the probability, or
/// all of them: a token is in while those before it hold less. The probability is that of all the kept where
/// `renormalize`, as after top-k, and else the whole softmax's. So do Hugging Face transformers (`TopKLogitsWarper`,
/// `TopPLogitsWarper`, version 5.23), which sort upwards and drop tokens up to a sum of `1 - top_p`; but of tokens that
/// tie with the last of `kept` they keep all.
pub fn nucleus(
    logits: &[f32],
    inverse_temperature: f32,
    kept: usize,
    renormalize: bool,
    top_p: f32,
) -> Vec<(u32, f64)> {
    let scores: Vec<f64> = logits.iter().map(|&logit| f64::from(logit * inverse_temperature)).collect();
    let probabilities = super::softmax::softmax_f64(scores.clone());
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap_or(Ordering::Equal));
    order.truncate(kept.max(1));
    let whole = if renormalize { order.iter().map(|&token| probabilities[token]).sum() } else { 1.0 };
    let mut mass = 0.0;
    let mut nucleus = Vec::new();
    for token in order {
        if !nucleus.is_empty() && mass >= f64::from(top_p) * whole {
            break;
        }
        mass += probabilities[token];
        nucleus.push((token as u32, probabilities[token]));
    }
    nucleus
}

/// One token of a [`nucleus`], by weight.
pub fn sample_nucleus(nucleus: &[(u32, f64)], seed: u32, draw: u32) -> u32 {
    let mass: f64 = nucleus.iter().map(|(_, p)| p).sum();
    // An index that no token has.
    let drawn = mass * uniform_random(seed, draw, u32::MAX);
    let mut sum = 0.0;
    let passed = |&(_, p): &(u32, f64)| {
        sum += p;
        drawn < sum
    };
    nucleus.iter().copied().find(passed).or(nucleus.last().copied()).map_or(0, |(token, _)| token)
}
