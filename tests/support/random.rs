//! Random numbers that are the same on every machine.

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number between 0 and 1, neither included.
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// `count` independent standard normal numbers (Box and Muller, 1958).
    pub fn gaussian(&mut self, count: usize) -> Vec<f32> {
        let mut normal = || {
            let radius = (-2.0 * self.unit().ln()).sqrt();
            (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
        };
        (0..count).map(|_| normal()).collect()
    }
}
