// A counter-based uniform number in (0, 1): PCG's permutation over (seed, draw, index) (Jarzynski and Olano, JCGT 9(3), 2020).
fn pcg(value: u32) -> u32 {
    let state = value * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

fn random_bits(seed: u32, draw: u32, index: u32) -> u32 {
    return pcg(index ^ pcg(draw ^ pcg(seed)));
}

// Odd multiples of 2^-24: all of them are f32, so that none rounds to 1.
fn uniform_random(seed: u32, draw: u32, index: u32) -> f32 {
    return (f32(random_bits(seed, draw, index) >> 9u) + 0.5) / 8388608.0;
}
