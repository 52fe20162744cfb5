//! Named descriptions: the shapes of published models, and two small ones that software drivers can run.
//!
//! For planning and, with [`Model::random`](super::Model::random), for measuring without a checkpoint. A published
//! checkpoint brings its own description, which may differ in the size of the vocabulary.
//!
//! [`orders`] has what their blocks are made of, as [layout strings](super::layout_string) for models of any size.

mod brainformer;
mod encoder_decoder;
mod gemma;
mod glam;
mod llama;
pub mod orders;
mod palm;
mod shape;

pub use brainformer::{
    brainformer_six_1b_64e, brainformer1_1b_64e, brainformer1_8b_64e, brainformer2_1b_64e,
    brainformer2_100m_32e,
};
pub use encoder_decoder::{st_moe_32b, st_moe_l, switch_c, t5_xxl};
pub use gemma::{gemma2_2b, gemma3_1b, gemma3_4b, gemma3_270m, tiny_dense, tiny_moe};
pub use glam::{
    glam_8b, glam_8b_64e, glam_64b_64e, glam_100m_32e, glam_100m_64e, glam_1700m, glam_1700m_64e,
    glam_1700m_128e, glam_1700m_256e, gshard_600b,
};
pub use llama::{llama3_8b, mixtral_8x7b, qwen3_30b_a3b};
pub use palm::{palm_8b, palm_62b, palm_540b};

use super::config::ModelConfig;

/// A name and the description it stands for.
pub type Preset = (&'static str, fn() -> ModelConfig);

/// Two small models that any driver can run, and models whose weights are published; by size.
pub const PRESETS: [Preset; 9] = [
    ("tiny-dense", tiny_dense),
    ("tiny-moe", tiny_moe),
    ("gemma3-270m", gemma3_270m),
    ("gemma3-1b", gemma3_1b),
    ("gemma2-2b", gemma2_2b),
    ("gemma3-4b", gemma3_4b),
    ("llama3-8b", llama3_8b),
    ("qwen3-30b-a3b", qwen3_30b_a3b),
    ("mixtral-8x7b", mixtral_8x7b),
];

/// Models that papers describe and nobody has published.
pub const UNRELEASED: [Preset; 17] = [
    ("palm-8b", palm_8b),
    ("palm-62b", palm_62b),
    ("palm-540b", palm_540b),
    ("glam-0.1b-32e", glam_100m_32e),
    ("glam-0.1b-64e", glam_100m_64e),
    ("glam-1.7b", glam_1700m),
    ("glam-1.7b-64e", glam_1700m_64e),
    ("glam-1.7b-128e", glam_1700m_128e),
    ("glam-1.7b-256e", glam_1700m_256e),
    ("glam-8b", glam_8b),
    ("glam-8b-64e", glam_8b_64e),
    ("glam-64b-64e", glam_64b_64e),
    ("brainformer1-1b-64e", brainformer1_1b_64e),
    ("brainformer1-8b-64e", brainformer1_8b_64e),
    ("brainformer2-100m-32e", brainformer2_100m_32e),
    ("brainformer2-1b-64e", brainformer2_1b_64e),
    ("brainformer-six-1b-64e", brainformer_six_1b_64e),
];

/// The preset of a name, from either list.
pub fn preset(name: &str) -> Option<ModelConfig> {
    PRESETS.iter().chain(&UNRELEASED).find(|(known, _)| *known == name).map(|(_, config)| config())
}
