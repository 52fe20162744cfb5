// An expert takes share_numerator / share_denominator of the tokens of a pass, rounded down after share_round is added to the
// numerator's product; at least 1, at most all. `ExpertShare` sees to it that products stay below 2^32.
fn capacity() -> u32 {
    let whole = params.share_numerator * (span.rows / params.share_denominator);
    let rest = params.share_numerator * (span.rows % params.share_denominator) + params.share_round;
    return clamp(whole + rest / params.share_denominator, 1u, max(span.rows, 1u));
}
