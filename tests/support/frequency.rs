//! Whether draws follow a distribution.

/// Asserts that tokens occur as often as their probabilities say, by Pearson's chi-square; those expected fewer than
/// five times count as one. The limit is five standard deviations above the mean, so a right sampler passes for all
/// but one seed in thousands.
#[track_caller]
pub fn assert_follows(what: &str, tokens: &[u32], probabilities: &[f64]) {
    let whole: f64 = probabilities.iter().sum();
    let mut counts = vec![0.0; probabilities.len()];
    tokens.iter().for_each(|&token| counts[token as usize] += 1.0);
    let (mut statistic, mut cells) = (0.0, 0.0);
    let (mut rare_count, mut rare_expected) = (0.0, 0.0);
    let mut cell = |count: f64, expected: f64| {
        statistic += (count - expected).powi(2) / expected;
        cells += 1.0;
    };
    for (token, (&count, p)) in counts.iter().zip(probabilities).enumerate() {
        let expected = p / whole * tokens.len() as f64;
        assert!(*p > 0.0 || count == 0.0, "{what}: token {token} was drawn and has no probability");
        if expected >= 5.0 {
            cell(count, expected);
        } else {
            rare_count += count;
            rare_expected += expected;
        }
    }
    if rare_expected >= 1.0 {
        cell(rare_count, rare_expected);
    }
    let degrees: f64 = cells - 1.0;
    let limit = degrees + 5.0 * (2.0 * degrees).sqrt();
    assert!(statistic <= limit, "{what}: chi-square {statistic:.1} of {degrees} degrees, at most {limit:.1}");
}
