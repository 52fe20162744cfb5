// ALiBi (arXiv 2108.12409, section 3): what a head's slope takes from a score for every token between query and key.
// With n the largest power of two among H heads, the first n have the slopes 2^(-8 i / n), i = 1, 2, ..., and the others every
// second one of 2 n heads, from the first on. Needs: params.heads, params.alibi_scale. Constants: ALIBI_BF16.
fn slope(head: u32) -> f32 {
    let log_n = firstLeadingBit(params.heads);
    let n = 1u << log_n;
    // In units of 4 / n, so that it is whole.
    let step = select(2u * (head - n) + 1u, 2u * (head + 1u), head < n);
    // Whole powers apart, which are exact, so that exp2 has an argument below 1.
    let whole = (4u * step) >> log_n;
    let rest = f32((4u * step) & (n - 1u)) / f32(n);
    return ldexp(exp2(-rest), -i32(whole));
}

fn rounded(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let upper = (bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u;
    return bitcast<f32>(select(bits, upper, ALIBI_BF16));
}

fn by_position(slope: f32, position: u32) -> f32 {
    return rounded(slope * rounded(f32(position)));
}

fn score_bias(head: u32, query_position: u32, key_position: u32) -> f32 {
    let slope = rounded(slope(head));
    if ALIBI_BF16 {
        return (by_position(slope, key_position) - by_position(slope, query_position)) * params.alibi_scale;
    }
    return slope * f32(i32(key_position) - i32(query_position)) * params.alibi_scale;
}
