//! What the descriptions of DeepSeek-V2 and V3 may say, and what comes of published ones.

use serde_json::{Value, json};
use wattle::gpu::Capabilities;
use wattle::model::config::{
    ExpertGroups, Experts, GroupScore, LatentAttention, ModelConfig, Op, RopeLayout, Routing, Score,
};
use wattle::model::flops::Flops;
use wattle::model::layout::Layout;
use wattle::model::parameters::Parameters;
use wattle::model::plan::WeightPlan;
use wattle::model::session::SessionPlan;
use wattle::model::{SessionOptions, family, slot};
use wattle::quant::WeightFormat;

use crate::support::assert_says;

fn parse(value: &Value) -> ModelConfig {
    family::parse(&value.to_string()).unwrap_or_else(|e| panic!("{value}: {e}")).0
}

/// A description of a family with some keys.
fn with(model_type: &str, changes: Value) -> Value {
    let mut value = json!({"model_type": model_type, "num_experts_per_tok": 6});
    value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    value
}

fn attention(config: &ModelConfig) -> &LatentAttention {
    match &config.blocks[0].sublayers[0].op {
        Op::LatentAttention(attention) => attention,
        other => panic!("{other:?}"),
    }
}

fn experts(config: &ModelConfig) -> &Experts {
    match &config.blocks.last().unwrap().sublayers[1].op {
        Op::Experts(experts) => experts,
        other => panic!("{other:?}"),
    }
}

/// As published, but that weights are not in f8, and there is a layer more in the file that predicts a second token.
fn v3() -> Value {
    json!({
        "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "ep_size": 1,
        "first_k_dense_replace": 3, "hidden_act": "silu", "hidden_size": 7168, "intermediate_size": 18432,
        "kv_lora_rank": 512, "max_position_embeddings": 163_840, "model_type": "deepseek_v3",
        "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256,
        "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 128, "num_experts_per_tok": 8,
        "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1, "q_lora_rank": 1536,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-6,
        "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4096, "type": "yarn"},
        "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "tie_word_embeddings": false,
        "topk_group": 4, "topk_method": "noaux_tc", "v_head_dim": 128, "vocab_size": 129_280,
    })
}

fn v2_lite() -> Value {
    json!({
        "model_type": "deepseek_v2", "first_k_dense_replace": 1, "hidden_size": 2048, "intermediate_size": 10944,
        "kv_lora_rank": 512, "max_position_embeddings": 163_840, "moe_intermediate_size": 1408, "n_group": 1,
        "n_routed_experts": 64, "n_shared_experts": 2, "norm_topk_prob": false, "num_attention_heads": 16,
        "num_experts_per_tok": 6, "num_hidden_layers": 27, "num_key_value_heads": 16, "q_lora_rank": null,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-6,
        "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707,
            "original_max_position_embeddings": 4096, "type": "yarn"},
        "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax", "topk_group": 1,
        "topk_method": "greedy", "v_head_dim": 128, "vocab_size": 102_400,
    })
}

/// Published as 671 and 37 billion (arXiv 2412.19437, abstract), and as 15.7 and 2.4 (arXiv 2405.04434, appendix B).
#[test]
fn parameters_are_those_published() {
    for (json, total, activated) in [(v3(), 671.0, 37.0), (v2_lite(), 15.7, 2.4)] {
        let config = parse(&json);
        let found =
            [Parameters::of(&config), Parameters::activated(&config)].map(|count| count.total() as f64 / 1e9);
        for (found, published) in found.into_iter().zip([total, activated]) {
            assert!((found / published - 1.0).abs() < 0.12, "{}: {found} of {published}", config.name);
        }
        assert!((found[0] / total - 1.0).abs() < 0.002, "{}: {} of {total}", config.name, found[0]);
    }
    // A query and a key of 192 elements and a value of 128 for each of 128 heads.
    let flops = Flops::of_token(&parse(&v3()), 1000, 0);
    assert_eq!(flops.attention, 61 * 2 * 128 * (192 + 128) * 1000);
}

/// 512 and 64 elements of each token and layer, and nothing of heads.
#[test]
fn the_cache_holds_latents() {
    let config = parse(&v3());
    let (device, context) = (Capabilities::webgpu(), 4096);
    let plan = WeightPlan::uniform("int4".parse::<WeightFormat>().unwrap());
    let layout = Layout::new(&config, &plan, &device).unwrap();
    let greedy = wattle::model::forward::Sampling::GREEDY;
    let session = SessionPlan::new(&config, &layout, &device, &SessionOptions::new(context, greedy)).unwrap();
    let named = session.named_bytes();
    let caches = named.iter().filter(|(name, _)| name.ends_with("_cache"));
    assert_eq!(caches.map(|(_, bytes)| bytes).sum::<u64>(), 61 * (512 + 64) * 4 * u64::from(context));
}

#[test]
fn yarn_changes_the_scale_of_scores() {
    let magnitude = |scale: f64| 0.1 * scale * 40_f64.ln() + 1.0;
    for (json, scale) in [(v3(), 1.0), (v2_lite(), 0.707)] {
        let config = parse(&json);
        let expected = 192_f64.sqrt().recip() * magnitude(scale).powi(2);
        let found = f64::from(attention(&config).scale);
        assert!((found / expected - 1.0).abs() < 1e-6, "{found}, expected {expected}");
    }
    let plain = parse(&with("deepseek_v3", json!({"rope_scaling": null})));
    assert_eq!(attention(&plain).scale, 192_f64.sqrt().recip() as f32);
    let mut none = v3();
    none["rope_scaling"].as_object_mut().unwrap().remove("mscale_all_dim");
    assert_eq!(attention(&parse(&none)).scale, 192_f64.sqrt().recip() as f32);
}

#[test]
fn absent_keys_have_the_defaults_of_transformers() {
    let full = json!({
        "model_type": "deepseek_v3", "vocab_size": 129_280, "hidden_size": 7168, "intermediate_size": 18_432,
        "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128,
        "num_key_value_heads": 128, "n_shared_experts": 1, "n_routed_experts": 256, "routed_scaling_factor": 2.5,
        "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "qk_nope_head_dim": 128, "n_group": 8, "topk_group": 4, "num_experts_per_tok": 8,
        "first_k_dense_replace": 3, "norm_topk_prob": true, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6,
        "tie_word_embeddings": false, "attention_bias": false, "rope_interleave": true,
        "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"},
    });
    assert_eq!(parse(&json!({"model_type": "deepseek_v3"})), parse(&full));
    let full = json!({
        "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "mlp_bias": false,
        "attention_bias": false, "first_k_dense_replace": 0, "kv_lora_rank": 512, "q_lora_rank": 1536,
        "n_group": null, "n_routed_experts": 64, "n_shared_experts": 2, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "routed_scaling_factor": 1.0, "topk_group": null, "topk_method": "greedy",
        "norm_topk_prob": false, "v_head_dim": 128, "moe_intermediate_size": 1407,
    });
    assert_eq!(parse(&with("deepseek_v2", json!({}))), parse(&with("deepseek_v2", full)));
}

#[test]
fn groups_and_their_scores() {
    let groups = |config: &ModelConfig| match experts(config).routing {
        Routing::Topk(topk) => (topk.score, topk.selection_bias, topk.groups),
        other => panic!("{other:?}"),
    };
    let limited = |score| Some(ExpertGroups { count: 8, limit: 3, score });
    let keys = json!({"n_group": 8, "topk_group": 3, "topk_method": "group_limited_greedy"});
    assert_eq!(
        groups(&parse(&with("deepseek_v2", keys))),
        (Score::Softmax, false, limited(GroupScore::Best))
    );
    let greedy = json!({"n_group": 8, "topk_group": 3, "topk_method": "greedy"});
    assert_eq!(groups(&parse(&with("deepseek_v2", greedy))), (Score::Softmax, false, None));
    assert_eq!(
        groups(&parse(&with("deepseek_v3", json!({"topk_group": 3})))),
        (Score::Sigmoid, true, limited(GroupScore::TwoBest))
    );
}

#[test]
fn queries_may_come_of_the_input() {
    for (rank, name) in [(json!(null), "q_proj"), (json!(96), "q_b_proj")] {
        let json = with("deepseek_v3", json!({"q_lora_rank": rank, "attention_bias": true}));
        let (config, naming) = family::parse(&json.to_string()).unwrap();
        let first = |slot: &slot::Slot| slot.place.at().is_some_and(|at| at.block == 0 && at.sublayer == 0);
        let names: Vec<_> = slot::slots(&config)
            .filter(|(slot, _)| first(slot))
            .map(|(slot, _)| naming.tensor_name(slot))
            .collect();
        let of_q = format!("model.layers.0.self_attn.{name}.weight");
        assert!(names.contains(&of_q), "{names:?}");
        // The projections of latents have biases, those to queries none.
        assert!(names.contains(&"model.layers.0.self_attn.kv_a_proj_with_mqa.bias".to_owned()), "{names:?}");
        assert!(!names.contains(&of_q.replace("weight", "bias")), "{names:?}");
    }
}

#[test]
fn pairs_are_neighbours_unless_a_file_says_otherwise() {
    let layout = |json: Value| attention(&parse(&json)).rope.layout;
    assert_eq!(layout(with("deepseek_v3", json!({}))), RopeLayout::Interleaved);
    assert_eq!(layout(with("deepseek_v3", json!({"rope_interleave": false}))), RopeLayout::HalfSplit);
    assert_eq!(layout(with("deepseek_v2", json!({}))), RopeLayout::Interleaved);
}

#[test]
fn what_is_not_offered_is_refused_by_name() {
    let refused = |model_type: &str, keys: Value, words: &[&str]| {
        let json = with(model_type, keys);
        assert_says(&family::parse(&json.to_string()).err().unwrap_or_else(|| panic!("{json}")), words);
    };
    refused("deepseek_v3", json!({"moe_layer_freq": 2}), &["'moe_layer_freq'", "2"]);
    refused("deepseek_v3", json!({"topk_method": "greedy"}), &["'topk_method'", "greedy"]);
    refused("deepseek_v3", json!({"scoring_func": "softmax"}), &["'scoring_func'", "softmax"]);
    refused("deepseek_v3", json!({"num_key_value_heads": 64}), &["'num_key_value_heads'", "64"]);
    refused("deepseek_v2", json!({"mlp_bias": true}), &["'mlp_bias'", "true"]);
    refused("deepseek_v2", json!({"norm_topk_prob": true}), &["'norm_topk_prob'", "true"]);
    refused("deepseek_v2", json!({"topk_method": "noaux_tc"}), &["'topk_method'", "noaux_tc"]);
    refused("deepseek_v3", json!({"qk_rope_head_dim": 7}), &["rotary_dim", "7"]);
    refused("deepseek_v3", json!({"kv_lora_rank": 1024}), &["kv_latent", "1 to 512", "1024"]);
}
