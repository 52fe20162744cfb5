// Pairs (x[i], x[i + n/2]): (a cos - b sin, a sin + b cos).
struct RotationPair { partner: u32, index: u32, sign: f32 }

fn rotation_pair(d: u32) -> RotationPair {
    let half = params.rotary_dim / 2u;
    if d < half {
        return RotationPair(d + half, d, -1.0);
    }
    return RotationPair(d - half, d - half, 1.0);
}
