// Pairs (x[2i], x[2i + 1]): (a cos - b sin, a sin + b cos).
struct RotationPair { partner: u32, index: u32, sign: f32 }

fn rotation_pair(d: u32) -> RotationPair {
    return RotationPair(d ^ 1u, d / 2u, select(1.0, -1.0, d % 2u == 0u));
}
