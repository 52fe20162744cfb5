// A counter-based uniform number in (0, 1): PCG's permutation over (seed, step, index) (Jarzynski and Olano, JCGT 9(3), 2020).
fn pcg(value: u32) -> u32 {
    let state = value * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

fn uniform_random(seed: u32, draw: u32, index: u32) -> f32 {
    return (f32(pcg(index ^ pcg(draw ^ pcg(seed))) >> 8u) + 0.5) / 16777216.0;
}
