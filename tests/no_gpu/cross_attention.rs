//! Cross-attention is described and counted, and refused where it would have to run.

use wattle::Error;
use wattle::gpu::Capabilities;
use wattle::model::config::{Attention, ModelConfig, Op, RopeScaling};
use wattle::model::family;
use wattle::model::layout::Layout;
use wattle::model::slot::{Part, Place, Role, slots};
use wattle::reference::weights::Weights;
use wattle::tuning::ProductPath;

use crate::layout_string::{letters, model};
use crate::models::rope;
use crate::shapes::weights;

/// A decoder of two blocks.
fn decoder(second: &str) -> ModelConfig {
    model(["acf", second].map(|string| letters().block(string).unwrap()).to_vec())
}

#[test]
fn its_slots_are_those_of_attention() {
    let found: Vec<_> = slots(&decoder("a"))
        .filter(|(slot, _)| slot.place == Place::sublayer(0, 1))
        .map(|(slot, shape)| (slot.role, slot.part, shape))
        .collect();
    let matrix = |role| (role, Part::Weight, vec![32, 32]);
    let norm = (Role::Norm, Part::Weight, vec![32]);
    assert_eq!(found, [norm, matrix(Role::Q), matrix(Role::K), matrix(Role::V), matrix(Role::Out)]);
}

#[test]
fn a_description_with_it_is_read_again() {
    let config = decoder("(fc)a");
    let json = serde_json::to_string(&config).unwrap();
    assert!(json.contains("cross_attention"), "{json}");
    assert_eq!(family::parse(&json).unwrap().0, config);
}

#[test]
fn the_encoder_has_no_distances() {
    let plain = letters().cross_attention.unwrap();
    for (key, attention) in [
        ("window", Attention { window: Some(8), ..plain.clone() }),
        ("chunk", Attention { chunk: Some(8), ..plain.clone() }),
        ("rope", Attention { rope: rope(1e4, 8, RopeScaling::None), ..plain.clone() }),
        ("kv_heads", Attention { kv_heads: 3, ..plain }),
    ] {
        let mut config = decoder("a");
        config.blocks[0].sublayers[1].op = Op::CrossAttention(attention);
        let error = config.validate().unwrap_err().to_string();
        let key = format!("'blocks[0].sublayers[1].cross_attention.{key}'");
        assert!(error.contains(&key), "expected {key}: {error}");
    }
}

#[test]
fn it_is_not_run() {
    for (config, place) in [
        (decoder("a"), "'blocks.0.sublayers.1.cross_attention'"),
        (model(vec![letters().block("a(fc)").unwrap()]), "'blocks.0.sublayers.1.branches.1.cross_attention'"),
    ] {
        config.validate().unwrap();
        let plan = weights("f32");
        let on_device = Layout::new(&config, &plan, &Capabilities::webgpu()).unwrap_err();
        let zeros = |_, shape: &[usize]| Ok(vec![0.0; shape.iter().product()]);
        let on_host = Weights::build(&config, &plan, ProductPath::Float, zeros).unwrap_err();
        for error in [on_device, on_host] {
            assert!(matches!(error, Error::Unsupported { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(place) && text.contains("no encoder"), "{place}: {text}");
        }
    }
}
