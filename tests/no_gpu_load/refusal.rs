//! Descriptions that are refused: each error names the key, what would do, and what was found.

use serde_json::{Value, json};
use wattle::Error;
use wattle::model::family;

use crate::support::assert_says;

/// The error of a family's description with one key set.
fn error(model_type: &str, key: &str, value: Value) -> Error {
    let mut config = json!({"model_type": model_type});
    config[key] = value;
    match family::parse(&config.to_string()) {
        Ok(_) => panic!("{config} was accepted"),
        Err(error) => error,
    }
}

#[track_caller]
fn assert_config(model_type: &str, key: &str, value: Value, found: &str) {
    let error = error(model_type, key, value);
    assert!(
        matches!(&error, Error::Config { key: k, found: f, .. } if k == key && f == found),
        "{model_type}, {key}: {error:?}"
    );
}

#[track_caller]
fn assert_unsupported(model_type: &str, key: &str, value: Value, words: &[&str]) {
    let error = error(model_type, key, value);
    assert!(matches!(&error, Error::Unsupported { .. }), "{model_type}, {key}: {error:?}");
    assert_says(&error, words);
}

#[test]
fn what_is_not_json() {
    for text in ["", "{", "model_type: llama", "{\"model_type\": 1e999}"] {
        let error = family::parse(text).unwrap_err();
        assert!(matches!(&error, Error::Format { file, .. } if file == "config.json"), "{text}: {error:?}");
    }
}

#[test]
fn an_unknown_family() {
    let error = error("mamba", "vocab_size", json!(7));
    assert!(matches!(&error, Error::UnknownModel { found, .. } if found == "mamba"), "{error:?}");
    assert_says(&error, &["gemma2", "gemma3_text", "llama", "mixtral"]);
    let error = family::parse(r#"{"model_type": 3}"#).unwrap_err();
    assert_says(&error, &["'model_type'", "a string", "found 3"]);
}

#[test]
fn numbers_of_the_wrong_kind() {
    let counts = [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
    ];
    for key in counts {
        for model_type in ["gemma2", "gemma3_text", "llama", "mixtral"] {
            assert_config(model_type, key, json!("12"), "\"12\"");
            assert_config(model_type, key, json!(-12), "-12");
            assert_config(model_type, key, json!(12.5), "12.5");
            assert_config(model_type, key, json!(0), "0");
            assert_config(model_type, key, json!(4_294_967_296u64), "4294967296");
        }
    }
    assert_config("llama", "hidden_size", Value::Null, "null");
    assert_config("llama", "hidden_size", json!([48]), "a list of 1");
    assert_config("llama", "rms_norm_eps", json!("1e-5"), "\"1e-5\"");
    assert_config("llama", "rms_norm_eps", json!(1e39), "1e+39");
    assert_config("llama", "rope_theta", json!(-1), "-1");
    assert_config("llama", "tie_word_embeddings", json!(1), "1");
    assert_config("llama", "hidden_act", json!(1), "1");
    assert_config("gemma2", "query_pre_attn_scalar", json!(0), "0");
    assert_config("gemma2", "attn_logit_softcapping", json!(-50), "-50");
    assert_config("gemma2", "sliding_window", json!(0), "0");
    assert_config("gemma3_text", "sliding_window_pattern", json!(0), "0");
    assert_config("mixtral", "num_local_experts", json!("8"), "\"8\"");
    assert_config("llama", "rope_scaling", json!("linear"), "\"linear\"");
}

#[test]
fn numbers_that_do_not_fit_together() {
    assert_config("llama", "num_key_value_heads", json!(5), "5");
    assert_config("llama", "num_attention_heads", json!(33), "33");
    assert_config("llama", "num_hidden_layers", json!(4_000_000_000u32), "4000000000");
    assert_config("mixtral", "num_experts_per_tok", json!(9), "9");
    assert_config("gemma2", "layer_types", json!(["full_attention"]), "1");
    assert_config("gemma2", "layer_types", json!([1, 2]), "a list of 2");
    assert_config("gemma2", "sliding_window", Value::Null, "null");
    for (key, value, word) in [
        ("head_dim", 1024, "head_dim"),
        ("head_dim", 63, "rotary_dim"),
        ("num_local_experts", 4_000_000_000u32, "experts.count"),
    ] {
        let error = error("mixtral", key, json!(value));
        assert!(matches!(&error, Error::Config { .. }), "{error:?}");
        assert_says(&error, &[word, &value.to_string()]);
    }
}

#[test]
fn heads_that_overflow() {
    let config = json!({"model_type": "llama", "num_attention_heads": u32::MAX, "head_dim": 512});
    let error = family::parse(&config.to_string()).unwrap_err();
    assert_says(&error, &["attention.heads", "2^32"]);
}

#[test]
fn what_is_not_offered() {
    assert_unsupported("llama", "quantization_config", json!({"bits": 4}), &["'quantization_config'"]);
    assert_unsupported("llama", "hidden_act", json!("quick_gelu"), &["'hidden_act'", "quick_gelu", "silu"]);
    assert_unsupported("gemma2", "hidden_activation", json!("mish"), &["'hidden_activation'", "mish"]);
    assert_unsupported("gemma2", "attention_bias", json!(true), &["'attention_bias'", "true"]);
    assert_unsupported("gemma3_text", "attention_bias", json!(true), &["'attention_bias'"]);
    for model_type in ["gemma2", "gemma3_text"] {
        let key = "use_bidirectional_attention";
        assert_unsupported(model_type, key, json!(true), &["'use_bidirectional_attention'", "causal"]);
        let chunked = json!(vec!["chunked_attention"; 26]);
        assert_unsupported(model_type, "layer_types", chunked, &["'layer_types'", "chunked_attention"]);
    }
    assert_unsupported("gemma3_text", "attn_logit_softcapping", json!(50.0), &["'attn_logit_softcapping'"]);
}

#[test]
fn rotations_that_are_not_offered() {
    for rope_type in ["dynamic", "longrope"] {
        let words = ["'rope_scaling.rope_type'", rope_type, "linear"];
        assert_unsupported("llama", "rope_scaling", json!({"rope_type": rope_type, "factor": 2}), &words);
        assert_unsupported("llama", "rope_scaling", json!({"type": rope_type, "factor": 2}), &words);
    }
    let partial = json!({"rope_type": "default", "partial_rotary_factor": 0.5});
    assert_unsupported(
        "llama",
        "rope_parameters",
        partial,
        &["'rope_parameters.partial_rotary_factor'", "0.5"],
    );
    assert_unsupported("llama", "partial_rotary_factor", json!(0.5), &["'partial_rotary_factor'", "0.5"]);
    let unknown = json!({"rope_type": "linear", "factor": 2, "mrope_section": [1]});
    assert_unsupported("llama", "rope_parameters", unknown, &["'rope_parameters.mrope_section'"]);
    let flat = json!({"rope_type": "linear", "factor": 2});
    assert_unsupported("gemma3_text", "rope_parameters", flat, &["'rope_parameters.factor'"]);
    let nested = json!({"full_attention": {"rope_type": "dynamic"}});
    assert_unsupported(
        "gemma3_text",
        "rope_parameters",
        nested,
        &["'rope_parameters.full_attention.rope_type'"],
    );
    let no_factor = error("llama", "rope_scaling", json!({"rope_type": "linear"}));
    assert_says(&no_factor, &["'rope_scaling.factor'", "found nothing"]);
    let zero = error("llama", "rope_scaling", json!({"rope_type": "linear", "factor": 0}));
    assert_says(&zero, &["'rope_scaling.factor'", "found 0"]);
}

/// What would leave a router without a choice, or without the groups to choose from.
#[test]
fn experts_that_do_not_fit() {
    let several = |model_type: &str, keys: Value| {
        let mut config = json!({"model_type": model_type, "head_dim": 64});
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        match family::parse(&config.to_string()) {
            Ok(_) => panic!("{config} was accepted"),
            Err(error) => error,
        }
    };
    for model_type in [
        "mixtral",
        "qwen2_moe",
        "qwen3_moe",
        "olmoe",
        "glm4_moe",
        "dots1",
        "deepseek_v2",
        "deepseek_v3",
        "gpt_oss",
        "llama4_text",
    ] {
        let error = several(
            model_type,
            json!({"num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 5}),
        );
        assert_says(&error, &["'num_experts_per_tok'", "at most the 4 experts", "found 5"]);
    }
    let groups = |keys: Value| several("glm4_moe", keys);
    assert_says(&groups(json!({"n_group": 3})), &["'n_group'", "a divisor of the 128 experts", "found 3"]);
    assert_says(&groups(json!({"n_group": 2, "topk_group": 3})), &["'topk_group'", "found 3"]);
    let few = json!({"n_group": 64, "topk_group": 2, "num_experts_per_tok": 5});
    assert_says(&groups(few), &["'topk_group'", "enough for 5 experts", "found 2"]);
    assert_says(
        &several("phimoe", json!({"num_experts_per_tok": 3})),
        &["'num_experts_per_tok': 3", "two experts"],
    );
    let gemma4 = json!({"hidden_size_per_layer_input": 0, "enable_moe_block": true, "num_experts": 2});
    assert_says(&several("gemma4_text", gemma4), &["'top_k_experts'", "found nothing"]);
    let shared =
        |count: u32| several("gemma4_text", json!({"num_hidden_layers": 6, "num_kv_shared_layers": count}));
    assert_says(&shared(7), &["'num_kv_shared_layers'", "at most the 6 layers", "found 7"]);
    // The only global layer is the last one.
    assert_says(&shared(1), &["'num_kv_shared_layers'", "fewer", "the type of layer 5", "found 1"]);
    let gemma3n = |changes| several("gemma3n_text", changes);
    assert_says(
        &gemma3n(json!({"intermediate_size": [64, 64]})),
        &["'intermediate_size'", "each of 35 layers", "found 2"],
    );
    assert_says(
        &gemma3n(json!({"activation_sparsity_pattern": [0.5]})),
        &["'activation_sparsity_pattern'", "each of 35 layers", "found 1"],
    );
    assert_says(&gemma3n(json!({"altup_active_idx": 4})), &["'altup_active_idx'", "one of the 4", "found 4"]);
    assert_says(&gemma3n(json!({"altup_num_inputs": 1})), &["'streams.count'", "2 to 8", "found 1"]);
    assert_says(&gemma3n(json!({"hidden_size_per_layer_input": 0})), &["'hidden_size_per_layer_input': 0"]);
    let short = json!({"num_hidden_layers": 4, "no_rope_layers": [1, 0]});
    assert_says(&several("llama4_text", short), &["'no_rope_layers'", "each of 4 layers", "found 2"]);
}

#[test]
fn a_multimodal_model_without_a_text_part() {
    assert_says(&error("gemma3", "vocab_size", json!(7)), &["'text_config'"]);
    let inner = error("gemma3", "text_config", json!({"hidden_size": -1}));
    assert_says(&inner, &["'text_config.hidden_size'", "-1"]);
}

#[test]
fn native_descriptions_say_what_is_wrong() {
    for (text, words) in [
        ("{}", ["model_type", "missing field `name`"]),
        ("[]", ["model_type", "line 1"]),
        (r#"{"name": "x", "vocab_size": -1}"#, ["`-1`", "line 1"]),
        (r#"{"name": "x", "colour": "red"}"#, ["unknown field `colour`", "vocab_size"]),
    ] {
        let error = family::parse(text).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        assert_says(&error, &words);
    }
    let empty = r#"{"name": "x", "vocab_size": 1, "hidden_size": 1, "context_length": 1, "blocks": [],
        "final_norm": {"kind": "rms", "eps": 1e-6}}"#;
    assert_says(&family::parse(empty).unwrap_err(), &["'blocks'"]);
}

#[test]
fn encoders_with_decoders() {
    assert_unsupported("t5", "is_encoder_decoder", json!(false), &["'is_encoder_decoder'", "encoder"]);
    assert_unsupported("t5", "feed_forward_proj", json!("gated-tanh"), &["'feed_forward_proj'", "tanh"]);
    assert_config("t5", "feed_forward_proj", json!("double-gelu"), "double-gelu");
    assert_config("t5", "num_layers", json!(20_000), "20000");
    assert_unsupported("switch_transformers", "router_dtype", json!("bfloat16"), &["'router_dtype'"]);
    assert_config("switch_transformers", "num_experts", json!(0), "0");
}
