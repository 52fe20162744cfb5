//! The descriptions of published models, as their files give them, are those of the presets.

use wattle::model::config::{Attention, ModelConfig, Op, Rope, RopeScaling};
use wattle::model::family;
use wattle::model::presets::preset;
use wattle::model::slot::slots;
use wattle::reference::rope::frequencies;

const GEMMA_2_2B: &str = r#"{
  "architectures": ["Gemma2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
  "attn_logit_softcapping": 50.0, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1,
  "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
  "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "initializer_range": 0.02,
  "intermediate_size": 9216, "max_position_embeddings": 8192, "model_type": "gemma2",
  "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4, "pad_token_id": 0,
  "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096,
  "torch_dtype": "float32", "transformers_version": "4.42.4", "use_cache": true, "vocab_size": 256000
}"#;

const GEMMA_3_1B: &str = r#"{
  "architectures": ["Gemma3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
  "attn_logit_softcapping": null, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": [1, 106],
  "final_logit_softcapping": null, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
  "hidden_size": 1152, "initializer_range": 0.02, "intermediate_size": 6912,
  "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4,
  "num_hidden_layers": 26, "num_key_value_heads": 1, "pad_token_id": 0, "query_pre_attn_scalar": 256,
  "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000,
  "sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16",
  "transformers_version": "4.50.0.dev0", "use_cache": true, "vocab_size": 262144
}"#;

/// The text part as published, without most keys: the defaults must fill them in.
const GEMMA_3_4B: &str = r#"{
  "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000,
  "eos_token_id": [1, 106], "image_token_index": 262144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
  "model_type": "gemma3",
  "text_config": {
    "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024
  },
  "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
  "vision_config": {"hidden_size": 1152, "image_size": 896, "model_type": "siglip_vision_model"}
}"#;

const LLAMA_3_2_1B: &str = r#"{
  "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
  "bos_token_id": 128000, "eos_token_id": 128001, "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
  "initializer_range": 0.02, "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
  "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8,
  "pretraining_tp": 1, "rms_norm_eps": 1e-05,
  "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
  "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256
}"#;

const MIXTRAL_8X7B: &str = r#"{
  "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
  "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
  "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32,
  "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
  "output_router_logits": false, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
  "router_aux_loss_coef": 0.02, "sliding_window": null, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16", "transformers_version": "4.36.0.dev0", "use_cache": true, "vocab_size": 32000
}"#;

/// The text part of it. Its rotation is Llama 3's with one border for both: no ramp.
const LLAMA_4_SCOUT: &str = r#"{
  "attention_bias": false, "attention_chunk_size": 8192, "attn_scale": 0.1, "attn_temperature_tuning": 4,
  "floor_scale": 8192, "head_dim": 128, "hidden_act": "silu", "hidden_size": 5120, "interleave_moe_layer_step": 1,
  "intermediate_size": 8192, "intermediate_size_mlp": 16384, "max_position_embeddings": 10485760,
  "model_type": "llama4_text", "no_rope_layers": [], "num_attention_heads": 40, "num_experts_per_tok": 1,
  "num_hidden_layers": 48, "num_key_value_heads": 8, "num_local_experts": 16, "rms_norm_eps": 1e-05,
  "rope_scaling": {"factor": 16.0, "high_freq_factor": 1.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "rope_theta": 500000.0, "router_jitter_noise": 0.0, "torch_dtype": "bfloat16", "use_cache": true,
  "use_qk_norm": true, "vocab_size": 202048
}"#;

fn parse(json: &str) -> ModelConfig {
    family::parse(json).unwrap().0
}

/// The presets' parameters are counted where presets are tested.
#[test]
fn a_published_file_describes_the_model_of_its_preset() {
    for (json, name) in [
        (GEMMA_2_2B, "gemma2-2b"),
        (GEMMA_3_1B, "gemma3-1b"),
        (GEMMA_3_4B, "gemma3-4b"),
        (MIXTRAL_8X7B, "mixtral-8x7b"),
    ] {
        let published = parse(json);
        let preset = preset(name).unwrap();
        // A preset follows the paper, and a checkpoint may pad or trim its vocabulary.
        let alike = ModelConfig { name: preset.name.clone(), vocab_size: preset.vocab_size, ..published };
        assert_eq!(alike, preset, "{name}");
    }
}

#[test]
fn parameters_of_a_model_without_a_preset() {
    let count: usize = slots(&parse(LLAMA_3_2_1B)).map(|(_, shape)| shape.iter().product::<usize>()).sum();
    assert_eq!(count, 1_235_814_400);
}

#[test]
fn one_border_for_low_and_high_frequencies() {
    let Op::Attention(Attention { rope: Some(rope), .. }) = &parse(LLAMA_4_SCOUT).blocks[0].sublayers[0].op
    else {
        panic!("the first layer has positions")
    };
    let plain = frequencies(&Rope { scaling: RopeScaling::None, ..*rope });
    let longest = std::f32::consts::TAU / 8192.0;
    for (stretched, plain) in frequencies(rope).into_iter().zip(plain) {
        assert_eq!(stretched, if plain < longest { plain / 16.0 } else { plain });
    }
}

#[test]
fn windows() {
    let windows = |json| -> Vec<_> {
        let attention =
            |(_, _, sublayer): (usize, usize, &wattle::model::config::SubLayer)| match &sublayer.op {
                Op::Attention(attention) => Some(attention.window),
                _ => None,
            };
        parse(json).sublayers().filter_map(attention).collect()
    };
    let gemma2 = windows(GEMMA_2_2B);
    assert_eq!((gemma2[0], gemma2[1], gemma2[25]), (Some(4096), None, None));
    let gemma3 = windows(GEMMA_3_4B);
    let global: Vec<_> = (0..34).filter(|layer| gemma3[*layer].is_none()).collect();
    assert_eq!(global, [5, 11, 17, 23, 29]);
    assert_eq!(gemma3[33], Some(1024));
    assert!(windows(MIXTRAL_8X7B).iter().all(Option::is_none));
}
