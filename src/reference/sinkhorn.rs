//! Balanced routing by Sinkhorn's iteration (arXiv 2202.01169, section 3.1 and appendix B.2.1).

/// The factors of the columns, as logarithms `[E]`, after so many rounds that bring the rows of `exp(logits)` `[n, E]` to sums
/// of 1 and its columns to sums of `n / E` by turns, columns last. Without rounds 0, and for a token alone, which would have
/// equal entries for all experts. Logits are finite.
pub fn column_factors(logits: &[f32], experts: usize, iterations: u32) -> Vec<f64> {
    let tokens = logits.len() / experts;
    let at = |t: usize, e: usize| f64::from(logits[t * experts + e]);
    let (mut rows, mut columns) = (vec![0.0; tokens], vec![0.0; experts]);
    for _ in 0..if tokens > 1 { iterations } else { 0 } {
        for (t, row) in rows.iter_mut().enumerate() {
            *row = -log_sum_exp((0..experts).map(|e| at(t, e) + columns[e]));
        }
        let even = (tokens as f64 / experts as f64).ln();
        for (e, column) in columns.iter_mut().enumerate() {
            *column = even - log_sum_exp((0..tokens).map(|t| at(t, e) + rows[t]));
        }
    }
    columns
}

fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    most + terms.map(|term| (term - most).exp()).sum::<f64>().ln()
}
