//! The golden models: both key styles give one description, and their files hold exactly what it asks for.

use std::collections::BTreeSet;
use std::fs;

use wattle::model::config::{
    Activation, Attention, FeedForward, ModelConfig, Norm, NormKind, Op, RopeScaling, Routing, SubLayer,
};
use wattle::model::slot::slots;
use wattle::model::{self, family};

use crate::models::MODELS;
use crate::support::golden_dir;

fn config(model: &str, file: &str) -> ModelConfig {
    let path = golden_dir().join(model).join(file);
    let json = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    family::parse(&json).unwrap_or_else(|e| panic!("{}: {e}", path.display())).0
}

fn sublayer(config: &ModelConfig, block: usize, index: usize) -> &SubLayer {
    &config.blocks[block].sublayers[index]
}

fn attention(config: &ModelConfig, block: usize) -> &Attention {
    match &sublayer(config, block, 0).op {
        Op::Attention(attention) => attention,
        other => panic!("sub-layer 0 of block {block} is {other:?}"),
    }
}

fn feed_forward(config: &ModelConfig, block: usize) -> FeedForward {
    match sublayer(config, block, 1).op {
        Op::FeedForward(ffn) => ffn,
        ref other => panic!("sub-layer 1 of block {block} is {other:?}"),
    }
}

#[test]
fn both_key_styles_give_the_same_description() {
    for &model in MODELS {
        let mut styles = ["config.json", "config.alt.json"].map(|file| config(model, file));
        if model == "t5_gated" {
            // Newer files of this family say that every head is tied, and leave it to the tensors that are there.
            assert_eq!(styles.each_ref().map(|config| config.head.tied), [true, false]);
            styles[0].head.tied = false;
        }
        let [new, old] = styles;
        assert_eq!(new, old, "{model}");
    }
}

#[test]
fn a_description_survives_its_native_form() {
    for &model in MODELS {
        let config = config(model, "config.json");
        let json = serde_json::to_string_pretty(&config).unwrap();
        let (again, naming) = family::parse(&json).unwrap();
        assert_eq!(again, config, "{model}");
        assert_eq!(naming, model::naming::Naming::Native, "{model}");
    }
}

#[test]
fn files_hold_exactly_the_tensors_of_the_description() {
    for &model in MODELS {
        let source = model::open(golden_dir().join(model)).unwrap_or_else(|e| panic!("{model}: {e}"));
        let mut needed = BTreeSet::new();
        for (slot, shape) in slots(&source.config) {
            let values = source.fetch(slot, &shape).unwrap_or_else(|e| panic!("{model}: {e}"));
            assert_eq!(values.len(), shape.iter().product::<usize>(), "{model}: {slot:?}");
            assert!(values.iter().any(|x| *x != 0.0), "{model}: {slot:?} is zero");
            // Experts may lie together in one tensor, of which each has another part.
            needed.insert(source.naming.tensor_name(slot));
        }
        let present: BTreeSet<_> = source.checkpoint.names().map(str::to_owned).collect();
        assert_eq!(present, needed, "{model}");

        let bytes = source.checkpoint.check(&source.config, source.naming).unwrap();
        let sum: u64 = needed.iter().map(|name| source.checkpoint.tensor_bytes(name).unwrap()).sum();
        assert_eq!(bytes, sum, "{model}");
    }
}

#[test]
fn gemma2() {
    let config = config("gemma2", "config.json");
    assert_eq!((config.vocab_size, config.hidden_size, config.context_length), (127, 48, 512));
    assert_eq!(config.embedding_scale, 48f32.sqrt());
    assert_eq!((config.head.tied, config.head.softcap), (true, Some(8.0)));
    let windows: Vec<_> = (0..4).map(|block| attention(&config, block).window).collect();
    assert_eq!(windows, [Some(8), None, Some(8), None]);
    let first = attention(&config, 0);
    assert_eq!((first.heads, first.kv_heads, first.head_dim), (4, 2, 16));
    assert_eq!((first.scale, first.softcap, first.qk_norm), (0.204_124_15, Some(5.0), None));
    let rope = first.rope.unwrap();
    assert_eq!((rope.theta, rope.rotary_dim, rope.scaling), (10_000.0, 16, RopeScaling::None));
    let ffn = FeedForward::gated(80, Activation::GeluTanh);
    assert_eq!(feed_forward(&config, 3), ffn);
    for index in 0..2 {
        let SubLayer { norm, post_norm, .. } = sublayer(&config, 2, index);
        assert_eq!(*norm, Some(Norm { kind: NormKind::RmsUnitOffset, eps: 1e-6 }));
        assert_eq!(post_norm, norm);
    }
}

#[test]
fn gemma3() {
    let config = config("gemma3_text", "config.json");
    let windows: Vec<_> = (0..7).map(|block| attention(&config, block).window).collect();
    assert_eq!(windows, [Some(8), Some(8), Some(8), Some(8), Some(8), None, Some(8)]);
    let (local, global) = (attention(&config, 4), attention(&config, 5));
    let (local_rope, global_rope) = (local.rope.unwrap(), global.rope.unwrap());
    assert_eq!((local_rope.theta, local_rope.scaling), (10_000.0, RopeScaling::None));
    assert_eq!((global_rope.theta, global_rope.scaling), (1e6, RopeScaling::Linear { factor: 8.0 }));
    assert_eq!((global.head_dim, global.softcap, config.head.softcap), (12, None, None));
    assert_eq!(global.qk_norm.unwrap().kind, NormKind::RmsUnitOffset);
    assert_eq!(sublayer(&config, 0, 1).post_norm.unwrap().eps, 1e-6);
}

#[test]
fn llama() {
    let config = config("llama", "config.json");
    assert_eq!((config.head.tied, config.embedding_scale), (false, 1.0));
    let first = attention(&config, 0);
    assert_eq!((first.heads, first.kv_heads, first.head_dim), (6, 2, 8));
    assert_eq!((first.scale, first.window), (0.353_553_39, None));
    assert!(!first.qkv_bias && !first.out_bias && !feed_forward(&config, 0).bias);
    let (factor, low_freq_factor, high_freq_factor, original_context) = (8.0, 1.0, 4.0, 64);
    let scaling = RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context };
    assert_eq!((first.rope.unwrap().theta, first.rope.unwrap().scaling), (500_000.0, scaling));
    assert_eq!(feed_forward(&config, 0).activation, Activation::Silu);
    assert_eq!((config.final_norm.kind, config.final_norm.eps), (NormKind::Rms, 1e-5));
    assert_eq!(sublayer(&config, 0, 0).post_norm, None);
}

#[test]
fn llama_with_biases() {
    let config = config("llama_bias", "config.json");
    let first = attention(&config, 0);
    assert!(config.head.tied && first.qkv_bias && first.out_bias && feed_forward(&config, 0).bias);
    assert_eq!(first.rope.unwrap().scaling, RopeScaling::Linear { factor: 2.0 });
}

#[test]
fn mixtral() {
    for (model, window, count, hidden) in [("mixtral", None, 8, 40), ("mixtral_swa", Some(7), 4, 32)] {
        let config = config(model, "config.json");
        for block in 0..config.blocks.len() {
            assert_eq!(attention(&config, block).window, window, "{model}");
            assert_eq!(attention(&config, block).rope.unwrap().theta, 1e6, "{model}");
            let Op::Experts(experts) = sublayer(&config, block, 1).op else { panic!("{model}: no experts") };
            assert_eq!((experts.count, experts.top_k, experts.expert.hidden), (count, 2, hidden), "{model}");
            assert_eq!(experts.routing, Routing::softmax_topk(true), "{model}");
        }
    }
}
