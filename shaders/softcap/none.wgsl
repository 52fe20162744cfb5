fn softcap(z: f32) -> f32 {
    return z;
}
