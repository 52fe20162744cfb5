//! What the descriptions of families with experts may say, and what they may not.

use serde_json::{Value, json};
use wattle::model::config::{Attention, Experts, GroupScore, ModelConfig, Op, Rope, RopeScaling, Routing};
use wattle::model::family;

use crate::support::assert_says;

fn parse(value: &Value) -> ModelConfig {
    family::parse(&value.to_string()).unwrap_or_else(|e| panic!("{value}: {e}")).0
}

fn error(value: &Value) -> wattle::Error {
    family::parse(&value.to_string()).err().unwrap_or_else(|| panic!("{value} was accepted"))
}

fn attention(config: &ModelConfig) -> &Attention {
    match &config.blocks[0].sublayers[0].op {
        Op::Attention(attention) => attention,
        other => panic!("{other:?}"),
    }
}

fn experts(config: &ModelConfig) -> &Experts {
    let experts = config.sublayers().find_map(|(_, _, sublayer)| match &sublayer.op {
        Op::Experts(experts) => Some(experts),
        _ => None,
    });
    experts.unwrap()
}

fn yarn(beside: &Value, within: &Value) -> RopeScaling {
    let mut config = json!({"model_type": "llama", "head_dim": 64, "max_position_embeddings": 4096});
    let mut rope = json!({"rope_type": "yarn", "rope_theta": 1e4});
    config.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
    rope.as_object_mut().unwrap().extend(within.as_object().unwrap().clone());
    config["rope_parameters"] = rope;
    match attention(&parse(&config)).rope {
        Some(Rope { scaling, .. }) => scaling,
        None => panic!("{config} has positions"),
    }
}

/// Checked by hand from arXiv 2309.00071 and `_compute_yarn_parameters` of transformers 5.23.
#[test]
fn yarn_in_every_style() {
    let of = |factor: f64, magnitude: f64, original_context: u32| RopeScaling::Yarn {
        factor,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: true,
        magnitude,
        original_context,
    };
    let nothing = json!({});
    // A tenth of the factor's logarithm, and one.
    let suggested = 0.1 * 8_f64.ln() + 1.0;
    assert_eq!(yarn(&nothing, &json!({"factor": 8})), of(8.0, suggested, 4096));
    // A context beside the rotation goes before the one within, and a factor of its own follows from it.
    let beside = json!({"original_max_position_embeddings": 512});
    for within in [json!({}), json!({"factor": null, "original_max_position_embeddings": 1024})] {
        assert_eq!(yarn(&beside, &within), of(8.0, suggested, 512));
    }
    let short = json!({"factor": 8, "original_max_position_embeddings": 1024});
    assert_eq!(yarn(&nothing, &short), of(8.0, suggested, 1024));
    assert_eq!(yarn(&nothing, &json!({"factor": 8, "attention_factor": 1.5})), of(8.0, 1.5, 4096));
    let deepseek = json!({"factor": 8, "mscale": 2.0, "mscale_all_dim": 0.5});
    let ratio = (0.1 * 2.0 * 8_f64.ln() + 1.0) / (0.1 * 0.5 * 8_f64.ln() + 1.0);
    assert_eq!(yarn(&nothing, &deepseek), of(8.0, ratio, 4096));
    // One alone, or of 0, is none.
    for scales in [json!({"mscale": 2.0}), json!({"mscale": 2.0, "mscale_all_dim": 0})] {
        let mut within = json!({"factor": 8});
        within.as_object_mut().unwrap().extend(scales.as_object().unwrap().clone());
        assert_eq!(yarn(&nothing, &within), of(8.0, suggested, 4096));
    }
    let own = yarn(&nothing, &json!({"factor": 8, "beta_fast": 16, "beta_slow": null, "truncate": false}));
    let expected = RopeScaling::Yarn {
        factor: 8.0,
        beta_fast: 16.0,
        beta_slow: 1.0,
        truncate: false,
        magnitude: suggested,
        original_context: 4096,
    };
    assert_eq!(own, expected);
}

#[test]
fn yarn_needs_a_base_that_grows() {
    let flat = json!({"model_type": "llama", "rope_theta": 1.0,
        "rope_scaling": {"rope_type": "yarn", "factor": 8}});
    let config = family::parse(&flat.to_string()).and_then(|(config, _)| config.validate());
    assert_says(&config.unwrap_err(), &["theta", "more than 1", "found 1"]);
}

#[test]
fn olmoe_clips_and_has_no_windows() {
    let olmoe = |key: &str, value: Value| json!({"model_type": "olmoe", "head_dim": 128, key: value});
    assert_eq!(attention(&parse(&olmoe("clip_qkv", json!(8.0)))).qkv_clip, Some(8.0));
    assert_eq!(attention(&parse(&olmoe("clip_qkv", json!(null)))).qkv_clip, None);
    assert_eq!(attention(&parse(&olmoe("sliding_window", json!(null)))).window, None);
    assert_says(&error(&olmoe("sliding_window", json!(4096))), &["'sliding_window': 4096", "every token"]);
}

#[test]
fn groups_of_experts() {
    let model = json!({"model_type": "glm4_moe", "head_dim": 128, "n_group": 8, "topk_group": 4, "first_k_dense_replace": 0});
    let config = parse(&model);
    let Routing::Topk(topk) = experts(&config).routing else { panic!("the best are chosen") };
    let groups = topk.groups.unwrap();
    assert_eq!((groups.count, groups.limit, groups.score), (8, 4, GroupScore::TwoBest));
}

#[test]
fn zeros_that_mean_something() {
    let jitter = |value: Value| json!({"model_type": "phimoe", "router_jitter_noise": value});
    let config = parse(&jitter(json!(0)));
    assert_eq!(experts(&config).routing, Routing::SparseMixer { jitter: 0.0 });
    config.validate().unwrap();
    assert_says(&error(&jitter(json!(-0.5))), &["'router_jitter_noise'", "not negative", "-0.5"]);
    let windows = |model: Value| {
        let config = parse(&model);
        let window = |(_, _, sublayer): (usize, usize, &wattle::model::config::SubLayer)| match &sublayer.op {
            Op::Attention(attention) => Some(attention.window),
            _ => None,
        };
        config.sublayers().filter_map(window).filter(Option::is_some).count()
    };
    let qwen = json!({"model_type": "qwen2_moe", "use_sliding_window": true, "max_window_layers": 0});
    assert_eq!(windows(qwen), 0);
    let dots = json!({"model_type": "dots1", "sliding_window": 64, "max_window_layers": 0});
    assert_eq!(windows(dots), 62);
}

#[test]
fn layers_of_gemma_4_differ_in_their_heads_alone() {
    let with = |own: Value| {
        json!({"model_type": "gemma4_text", "hidden_size_per_layer_input": 0, "num_hidden_layers": 6,
            "per_layer_config": own})
    };
    assert_eq!(attention(&parse(&with(json!({"0": {"head_dim": 64}})))).head_dim, 64);
    let other = error(&with(json!({"0": {"num_attention_heads": 2}})));
    assert_says(&other, &["'per_layer_config.0.num_attention_heads': 2", "in their heads alone"]);
    let beyond = error(&with(json!({"6": {"head_dim": 64}})));
    assert_says(&beyond, &["'per_layer_config.6'", "no layer's"]);
}
