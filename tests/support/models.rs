//! Golden models of families that are read.

pub const MODELS: &[&str] = &[
    "dots1",
    "gemma2",
    "gemma3_text",
    "gemma4_moe",
    "glm4_moe",
    "gpt_oss",
    "llama",
    "llama4_text",
    "llama_bias",
    "mixtral",
    "mixtral_swa",
    "olmoe",
    "phimoe",
    "qwen2_moe",
    "qwen3_moe_nonorm",
    "switch_transformers",
    "t5",
    "t5_gated",
];
