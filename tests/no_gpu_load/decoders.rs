//! What the descriptions of decoders without experts may say, and how their parts are then put together.

use serde_json::{Value, json};
use wattle::model::config::{
    Alibi, Attention, FeedForward, ModelConfig, Norm, NormKind, Op, RopeLayout, SubLayer,
};
use wattle::model::family;
use wattle::model::naming::Naming;
use wattle::model::slot::{Place, Role, Slot};

use crate::support::assert_says;

pub fn parse(value: &Value) -> (ModelConfig, Naming) {
    family::parse(&value.to_string()).unwrap_or_else(|e| panic!("{value}: {e}"))
}

fn error(value: &Value) -> wattle::Error {
    family::parse(&value.to_string()).err().unwrap_or_else(|| panic!("{value} was accepted"))
}

/// A description with some keys changed.
pub fn with(base: &Value, changes: Value) -> Value {
    let mut value = base.clone();
    value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    value
}

fn attention(config: &ModelConfig, block: usize) -> &Attention {
    let ops = config.ops().filter(|(place, _)| place.at().is_some_and(|at| at.block == block));
    let found = ops.filter_map(|(_, op)| match op {
        Op::Attention(attention) => Some(attention),
        _ => None,
    });
    found.last().unwrap_or_else(|| panic!("block {block} has no attention"))
}

fn feed_forward(config: &ModelConfig) -> FeedForward {
    let found = config.ops().find_map(|(_, op)| match op {
        Op::FeedForward(ffn) => Some(*ffn),
        _ => None,
    });
    found.unwrap()
}

/// Which norms a layer has: before each sub-layer, and before each branch.
fn form(config: &ModelConfig) -> Vec<(bool, Vec<bool>)> {
    let of = |layer: &SubLayer| match &layer.op {
        Op::Parallel(branches) => branches.iter().map(|branch| branch.norm.is_some()).collect(),
        _ => vec![],
    };
    config.blocks[0].sublayers.iter().map(|layer| (layer.norm.is_some(), of(layer))).collect()
}

fn serial() -> Vec<(bool, Vec<bool>)> {
    vec![(true, vec![]); 2]
}

fn one_norm() -> Vec<(bool, Vec<bool>)> {
    vec![(true, vec![false; 2])]
}

fn two_norms() -> Vec<(bool, Vec<bool>)> {
    vec![(false, vec![true; 2])]
}

/// Every family's defaults, spelled out as transformers 5.23.0 writes them.
fn spelled_out() -> Vec<Value> {
    let rope = |theta: f64| json!({"rope_theta": theta, "rope_type": "default"});
    let partial =
        |part: f64| json!({"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": part});
    vec![
        json!({
            "model_type": "mistral", "head_dim": null, "hidden_act": "silu", "hidden_size": 4096,
            "intermediate_size": 14_336, "max_position_embeddings": 131_072, "num_attention_heads": 32,
            "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_parameters": rope(1e4),
            "sliding_window": 4096, "tie_word_embeddings": false, "vocab_size": 32_000,
        }),
        json!({
            "model_type": "qwen3", "attention_bias": false, "head_dim": 128, "hidden_act": "silu",
            "hidden_size": 4096, "intermediate_size": 22_016, "layer_types": vec!["full_attention"; 32],
            "max_position_embeddings": 32_768, "max_window_layers": 28, "num_attention_heads": 32,
            "num_hidden_layers": 32, "num_key_value_heads": 32, "rms_norm_eps": 1e-6, "rope_parameters": rope(1e4),
            "sliding_window": null, "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 151_936,
        }),
        json!({
            "model_type": "gemma", "attention_bias": false, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 3072, "intermediate_size": 24_576, "max_position_embeddings": 8192,
            "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 16, "rms_norm_eps": 1e-6,
            "rope_parameters": rope(1e4), "tie_word_embeddings": true, "use_bidirectional_attention": null,
            "vocab_size": 256_000,
        }),
        json!({
            "model_type": "phi", "hidden_act": "gelu_new", "hidden_size": 2048, "intermediate_size": 8192,
            "layer_norm_eps": 1e-5, "max_position_embeddings": 2048, "num_attention_heads": 32,
            "num_hidden_layers": 24, "num_key_value_heads": 32, "qk_layernorm": false,
            "rope_parameters": partial(0.5), "tie_word_embeddings": false, "vocab_size": 51_200,
        }),
        json!({
            "model_type": "gptj", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "n_embd": 4096,
            "n_head": 16, "n_inner": null, "n_layer": 28, "n_positions": 2048, "rotary_dim": 64,
            "tie_word_embeddings": false, "vocab_size": 50_400,
        }),
        json!({
            "model_type": "gpt_neox", "attention_bias": true, "hidden_act": "gelu", "hidden_size": 6144,
            "intermediate_size": 24_576, "layer_norm_eps": 1e-5, "max_position_embeddings": 2048,
            "num_attention_heads": 64, "num_hidden_layers": 44, "rope_parameters": partial(0.25),
            "tie_word_embeddings": false, "use_parallel_residual": true, "vocab_size": 50_432,
        }),
        json!({
            "model_type": "cohere", "attention_bias": false, "hidden_act": "silu", "hidden_size": 8192,
            "intermediate_size": 22_528, "layer_norm_eps": 1e-5, "logit_scale": 0.0625,
            "max_position_embeddings": 8192, "num_attention_heads": 64, "num_hidden_layers": 40,
            "num_key_value_heads": 64, "rope_parameters": rope(5e5), "tie_word_embeddings": true,
            "use_qk_norm": false, "vocab_size": 256_000,
        }),
        json!({
            "model_type": "falcon", "activation": "gelu", "alibi": false, "bias": false, "ffn_hidden_size": 18_176,
            "hidden_size": 4544, "layer_norm_epsilon": 1e-5, "max_position_embeddings": 2048, "multi_query": true,
            "new_decoder_architecture": false, "num_attention_heads": 71, "num_hidden_layers": 32,
            "num_kv_heads": 71, "num_ln_in_parallel_attn": null, "parallel_attn": true,
            "rope_parameters": rope(1e4), "tie_word_embeddings": true, "vocab_size": 65_024,
        }),
        json!({
            "model_type": "gpt_bigcode", "activation_function": "gelu_pytorch_tanh", "add_cross_attention": false,
            "layer_norm_epsilon": 1e-5, "multi_query": true, "n_embd": 768, "n_head": 12, "n_inner": null,
            "n_layer": 12, "n_positions": 1024, "num_key_value_heads": 1, "scale_attn_weights": true,
            "tie_word_embeddings": true, "vocab_size": 50_257,
        }),
    ]
}

#[test]
fn absent_keys_have_the_defaults_of_transformers() {
    for full in spelled_out() {
        assert_eq!(parse(&json!({"model_type": full["model_type"]})).0, parse(&full).0, "{full}");
    }
}

#[test]
fn mistral_slides_unless_it_says_null() {
    let window = |changes| attention(&parse(&with(&json!({"model_type": "mistral"}), changes)).0, 0).window;
    assert_eq!(window(json!({})), Some(4096));
    assert_eq!(window(json!({"sliding_window": 7})), Some(7));
    assert_eq!(window(json!({"sliding_window": null})), None);
}

/// By default the layers slide that come after `max_window_layers`.
#[test]
fn qwen3_slides_in_some_layers() {
    let qwen3 = json!({"model_type": "qwen3", "num_hidden_layers": 4, "sliding_window": 9});
    let windows = |changes| {
        let config = parse(&with(&qwen3, changes)).0;
        (0..4).map(|block| attention(&config, block).window).collect::<Vec<_>>()
    };
    assert_eq!(windows(json!({"max_window_layers": 2})), [None; 4]);
    let sliding = json!({"use_sliding_window": true, "max_window_layers": 2});
    assert_eq!(windows(sliding), [None, None, Some(9), Some(9)]);
    assert_eq!(windows(json!({"use_sliding_window": true, "max_window_layers": 0})), [Some(9); 4]);
    let [full, slides] = ["full_attention", "sliding_attention"];
    let types = json!({"use_sliding_window": true, "layer_types": [full, slides, full, slides]});
    assert_eq!(windows(types), [None, Some(9), None, Some(9)]);
    let refused = error(&with(&qwen3, json!({"layer_types": [full, slides, full, slides]})));
    assert_says(&refused, &["'use_sliding_window'", "layer 1 slides", "false"]);
}

#[test]
fn gemma_has_norms_before_sublayers_alone() {
    let (config, _) = parse(&json!({"model_type": "gemma", "head_dim": 64, "hidden_size": 48}));
    assert_eq!((form(&config), config.embedding_scale), (serial(), 48f32.sqrt()));
    assert!(config.sublayers().all(|(_, _, layer)| layer.post_norm.is_none()));
    assert_eq!((attention(&config, 0).scale, config.final_norm.kind), (0.125, NormKind::RmsUnitOffset));
}

#[test]
fn phi_may_norm_its_heads() {
    let (config, naming) = parse(&json!({"model_type": "phi", "qk_layernorm": true}));
    let of_heads = attention(&config, 3);
    assert_eq!(of_heads.qk_norm, Some(Norm { kind: NormKind::LayerNormBias, eps: 1e-5 }));
    assert_eq!((of_heads.qk_norm_by_head, of_heads.rope.unwrap().rotary_dim), (false, 32));
    let norm = Slot::bias(Place::sublayer(3, 0).branch(0), Role::KNorm);
    assert_eq!(naming.tensor_name(norm), "model.layers.3.self_attn.k_layernorm.bias");
    assert_eq!(form(&config), one_norm());
    let ffn = feed_forward(&config);
    assert!(!ffn.gated && ffn.bias && config.head.bias && of_heads.qkv_bias && of_heads.out_bias);
}

#[test]
fn pairs_of_neighbours() {
    let layout = |model_type: &str| {
        attention(&parse(&json!({"model_type": model_type})).0, 0).rope.map(|rope| rope.layout)
    };
    let (half, neighbours) = (Some(RopeLayout::HalfSplit), Some(RopeLayout::Interleaved));
    assert_eq!(["gptj", "cohere"].map(layout), [neighbours; 2]);
    assert_eq!(["phi", "gpt_neox", "falcon"].map(layout), [half; 3]);
    assert_eq!(layout("gpt_bigcode"), None);
}

/// Their own names go before those that most use, which do as well.
#[test]
fn gpt_like_keys() {
    let own = json!({"model_type": "gptj", "n_embd": 96, "n_head": 6, "n_layer": 2, "n_positions": 64, "rotary_dim": 4});
    let usual = json!({
        "model_type": "gptj", "hidden_size": 96, "num_attention_heads": 6, "num_hidden_layers": 2,
        "max_position_embeddings": 64, "rotary_dim": 4,
    });
    assert_eq!(parse(&own).0, parse(&usual).0);
    assert_eq!(feed_forward(&parse(&own).0).hidden, 4 * 96);
    assert_eq!(feed_forward(&parse(&with(&own, json!({"n_inner": 50}))).0).hidden, 50);
    assert_eq!(parse(&with(&own, json!({"hidden_size": 1}))).0, parse(&own).0);
    for (key, value) in [("n_embd", json!(0)), ("n_inner", json!("4")), ("n_positions", json!(null))] {
        assert_says(&error(&with(&own, json!({key: value}))), &[&format!("'{key}'")]);
    }
    assert_says(
        &error(&json!({"model_type": "gpt_bigcode", "layer_norm_epsilon": 0})),
        &["'layer_norm_epsilon'"],
    );
    let old = json!({"model_type": "gpt_neox", "rotary_pct": 0.5, "rotary_emb_base": 5e4});
    let rope = attention(&parse(&old).0, 0).rope.unwrap();
    assert_eq!((rope.theta, rope.rotary_dim), (5e4, 48));
}

#[test]
fn gpt_neox_side_by_side_or_one_after_the_other() {
    let form =
        |parallel| form(&parse(&json!({"model_type": "gpt_neox", "use_parallel_residual": parallel})).0);
    assert_eq!([form(true), form(false)], [two_norms(), serial()]);
}

#[test]
fn cohere_scales_its_logits_and_may_norm_each_head() {
    let (config, _) = parse(&json!({"model_type": "cohere", "logit_scale": 0.25, "use_qk_norm": true}));
    assert_eq!((config.head.scale, config.head.tied, form(&config)), (0.25, true, one_norm()));
    let of_heads = attention(&config, 0);
    assert_eq!((of_heads.qk_norm.unwrap().kind, of_heads.qk_norm_by_head), (NormKind::LayerNorm, true));
    assert_eq!(of_heads.qk_norm_widths(), [8192; 2]);
    let (config, _) = parse(&json!({"model_type": "cohere", "logit_scale": null}));
    assert_eq!((config.head.scale, attention(&config, 0).qk_norm), (1.0, None));
}

#[test]
fn falcon_in_all_its_forms() {
    let falcon = json!({"model_type": "falcon", "num_attention_heads": 16, "hidden_size": 256});
    let read = |changes| {
        let (config, naming) = parse(&with(&falcon, changes));
        let names = [Some(0), Some(1), None].map(|branch| {
            let place = Place::sublayer(2, if branch.is_none() { 1 } else { 0 });
            let place = branch.map_or(place, |branch| place.branch(branch));
            let name = naming.tensor_name(Slot::weight(place, Role::Norm));
            name.strip_prefix("transformer.h.2.").unwrap().to_owned()
        });
        (form(&config), attention(&config, 0).kv_heads, names)
    };
    let [first, second] = ["input_layernorm.weight", "post_attention_layernorm.weight"].map(str::to_owned);
    let [attn, mlp] = ["ln_attn.weight", "ln_mlp.weight"].map(str::to_owned);
    let usual = [first, second.clone(), second];
    assert_eq!(read(json!({})), (one_norm(), 1, usual.clone()));
    assert_eq!(read(json!({"multi_query": false, "parallel_attn": false})), (serial(), 16, usual.clone()));
    let new = |more| with(&json!({"new_decoder_architecture": true, "num_kv_heads": 4}), more);
    assert_eq!(read(new(json!({}))), (two_norms(), 4, [attn, mlp.clone(), mlp]));
    assert_eq!(read(new(json!({"num_ln_in_parallel_attn": 1}))), (one_norm(), 4, usual.clone()));
    // What it says of key/value heads is for the new architecture.
    assert_eq!(read(json!({"num_kv_heads": 4})), (one_norm(), 1, usual));

    let with_alibi = with(&falcon, json!({"alibi": true, "bias": true}));
    let (config, _) = parse(&with_alibi);
    let added = attention(&config, 0);
    assert_eq!((added.alibi, added.rope), (Some(Alibi { scale: 0.25, bf16: true }), None));
    assert!(added.qkv_bias && added.out_bias && feed_forward(&config).bias);

    for (changes, words) in [
        (new(json!({"parallel_attn": false})), vec!["'parallel_attn': false", "serial"]),
        (new(json!({"num_ln_in_parallel_attn": 3})), vec!["'num_ln_in_parallel_attn': 3"]),
        (json!({"num_ln_in_parallel_attn": 2}), vec!["'num_ln_in_parallel_attn': 2", "new architecture"]),
        (new(json!({"num_kv_heads": 5})), vec!["'num_kv_heads'", "16 attention heads", "5"]),
        (json!({"multi_query": false, "num_kv_heads": 4}), vec!["'num_kv_heads': 4", "multi_query"]),
    ] {
        assert_says(&error(&with(&falcon, changes)), &words);
    }
}

#[test]
fn gpt_bigcode_with_one_head_or_with_all() {
    let read = |changes| parse(&with(&json!({"model_type": "gpt_bigcode"}), changes)).0;
    let config = read(json!({"n_positions": 77}));
    assert!(config.learned_positions && config.context_length == 77);
    assert_eq!((attention(&config, 0).kv_heads, attention(&config, 0).scale), (1, 0.125));
    let config = read(json!({"multi_query": false, "scale_attn_weights": false}));
    assert_eq!((attention(&config, 0).kv_heads, attention(&config, 0).scale), (12, 1.0));
}

#[test]
fn what_is_not_offered() {
    for model_type in ["phi", "gptj"] {
        let tied = json!({"model_type": model_type, "tie_word_embeddings": true});
        assert_says(&error(&tied), &["'tie_word_embeddings': true", "biases"]);
    }
    let across = json!({"model_type": "gpt_bigcode", "add_cross_attention": true});
    assert_says(&error(&across), &["'add_cross_attention': true"]);
    assert_says(&error(&json!({"model_type": "gptj", "rotary_dim": null})), &["'rotary_dim'", "null"]);
    assert_says(&error(&json!({"model_type": "gptj", "rotary_dim": 7})), &["rotary_dim", "7"]);
    let gemma = json!({"model_type": "gemma", "use_bidirectional_attention": true});
    assert_says(&error(&gemma), &["'use_bidirectional_attention': true", "causal"]);
}
