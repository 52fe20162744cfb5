//! Choosing the next token.

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
