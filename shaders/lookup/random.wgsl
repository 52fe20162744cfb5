// Neighbouring experts from a pseudo-random one on (arXiv 2110.04260). Needs: random_bits (common/random), span.
fn looked_up(row: u32, choice: u32) -> u32 {
    let first = random_bits(params.seed, span.position + row, 0u) % params.experts;
    return (first + choice) % params.experts;
}
