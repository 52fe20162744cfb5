// The slices of codes of which the upper `bits` bits are in each byte: WIDTH bits plus the next one, at most
// 2^WIDTH - 1, with EXTRA 2^WIDTH (arXiv 2502.06786, section 3). Constants: WIDTH, EXTRA.
fn slice16(codes: vec4<u32>, bits: u32) -> vec4<u32> {
    if WIDTH == bits {
        return codes;
    }
    let ones = vec4<u32>(0x01010101u);
    // Shifts carry bits over from the next byte, and masks remove them.
    let below = bits - WIDTH;
    let upper = (codes >> vec4<u32>(below)) & (ones * ((1u << WIDTH) - 1u));
    let rounded = upper + ((codes >> vec4<u32>(below - 1u)) & ones);
    if EXTRA {
        return rounded;
    }
    return rounded - ((rounded >> vec4<u32>(WIDTH)) & ones);
}
