// Neighbouring experts from a pseudo-random one on (arXiv 2110.04260). Needs: random_bits (common/random), position_of (common/span).
fn looked_up(row: u32, choice: u32) -> u32 {
    let first = random_bits(params.seed, position_of(row), 0u) % params.experts;
    return (first + choice) % params.experts;
}
