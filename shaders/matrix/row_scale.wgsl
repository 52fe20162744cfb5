// f16 ends at 65504: rows are multiplied by the power of two that brings their largest magnitude to between 2^14 and 2^15, which is
// exact, and sums of their products are divided by it.
const F16_MAX: f32 = 65504.0;

// The exponent of that power, as in the bits of an f32: those of two numbers, 127 too large each, whose product is at 2^14; one and its
// inverse are normal.
fn exponent_for(most: f32) -> u32 {
    return min(268u - (bitcast<u32>(most) >> 23u), 253u);
}

// What has no size at all stays so.
fn cut_off(x: f32) -> f32 {
    return select(x, sign(x) * F16_MAX, abs(x) > F16_MAX);
}

fn power_of(exponent: u32) -> f32 {
    return bitcast<f32>(exponent << 23u);
}

fn inverse_power_of(exponent: u32) -> f32 {
    return bitcast<f32>((254u - exponent) << 23u);
}
