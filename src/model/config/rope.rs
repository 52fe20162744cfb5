//! Rotary positions as data.

use serde::{Deserialize, Serialize};

/// Rotary position embedding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Leading elements of a head that are rotated; even, at most `head_dim`.
    pub rotary_dim: u32,
    /// Which elements form a pair.
    #[serde(default)]
    pub layout: RopeLayout,
    /// How frequencies are stretched for long contexts.
    #[serde(default)]
    pub scaling: RopeScaling,
}

/// Which elements of the rotary part form a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeLayout {
    /// `(x[i], x[i + n/2])`.
    #[default]
    HalfSplit,
    /// `(x[2i], x[2i + 1])`.
    Interleaved,
}

/// How frequencies are stretched for long contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    #[default]
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3: low frequencies divided by `factor`, high ones kept, a linear ramp between.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low_freq_factor` are low.
        low_freq_factor: f64,
        /// Wavelengths below `original_context / high_freq_factor` are high.
        high_freq_factor: f64,
        /// Context the model was trained with, in tokens.
        original_context: u32,
    },
    /// YaRN (arXiv 2309.00071, sections 3.2 and 3.4): of the frequencies that turn fewer than `beta_slow` times within the
    /// original context each is divided by `factor`, of those that turn more than `beta_fast` times none, with a linear
    /// ramp over the pairs between; and cosines and sines are multiplied by `magnitude`.
    Yarn {
        /// The divisor of low frequencies.
        factor: f64,
        /// Turns above which a frequency is kept.
        beta_fast: f64,
        /// Turns below which it is divided.
        beta_slow: f64,
        /// Whether the ends of the ramp are whole pairs.
        truncate: bool,
        /// Multiplies what is rotated.
        magnitude: f64,
        /// Context the model was trained with, in tokens.
        original_context: u32,
    },
    /// Pairs are those of the whole rotary part, and so are their frequencies, but only the first `pairs` turn (Gemma 4).
    Proportional {
        /// Pairs that turn.
        pairs: u32,
        /// The divisor of every frequency.
        factor: f64,
    },
}
