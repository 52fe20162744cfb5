//! Encoders and cross-attention: what descriptions may say of them, and that they are refused where there is nothing to attend
//! to.

use wattle::Error;
use wattle::gpu::Capabilities;
use wattle::model::config::{Attention, Block, Encoder, ModelConfig, Op, RelativeBias, RopeScaling};
use wattle::model::family;
use wattle::model::flops::Flops;
use wattle::model::layout::Layout;
use wattle::model::layout_string::Letters;
use wattle::model::parameters::Parameters;
use wattle::model::slot::{Part, Place, Role, Stack, slots};
use wattle::reference::weights::Weights;
use wattle::tuning::ProductPath;

use crate::layout_string::{letters, model};
use crate::models::rope;
use crate::shapes::{plan, weights};

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
        ("bidirectional", Attention { bidirectional: true, ..plain.clone() }),
        ("qkv_clip", Attention { qkv_clip: Some(3.0), ..plain.clone() }),
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
fn without_an_encoder_it_is_not_run() {
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

/// The same with an encoder of `af` blocks, and biases in both stacks.
fn encoder_decoder(blocks: usize) -> ModelConfig {
    let letters = letters();
    let attention = letters.attention.clone().map(|of| Attention { bidirectional: true, ..of });
    let block = Letters { attention, ..letters }.block("af").unwrap();
    let decoder = decoder("acf");
    let relative_bias = Some(RelativeBias { buckets: 8, max_distance: 12 });
    let encoder =
        Encoder { blocks: vec![block; blocks], final_norm: decoder.final_norm, start_id: 3, relative_bias };
    ModelConfig { encoder: Some(encoder), relative_bias, ..decoder }
}

#[test]
fn an_encoder_is_read_again() {
    let config = encoder_decoder(2);
    config.validate().unwrap();
    assert_eq!(family::parse(&serde_json::to_string(&config).unwrap()).unwrap().0, config);
}

/// Each stack has a table of biases, and the encoder its own norm; names and places tell the stacks apart.
#[test]
fn slots_of_both_stacks() {
    let config = encoder_decoder(3);
    let all: Vec<_> = slots(&config).collect();
    let of =
        |place: Place, role| all.iter().filter(|(slot, _)| (slot.place, slot.role) == (place, role)).count();
    let heads = config.biased_heads(Stack::Encoder).unwrap() as usize;
    for place in [Place::Model, Place::Encoder] {
        assert_eq!((of(place, Role::FinalNorm), of(place, Role::RelativeBias)), (1, 1));
        let (_, shape) = all.iter().find(|(s, _)| (s.place, s.role) == (place, Role::RelativeBias)).unwrap();
        assert_eq!(*shape, [8, heads]);
    }
    assert_eq!(of(Place::sublayer(2, 0).of(Stack::Encoder), Role::Q), 1);
    assert_eq!(of(Place::sublayer(2, 0), Role::Q), 0);
    assert_eq!(Place::sublayer(2, 0).of(Stack::Encoder).name("q"), "encoder.blocks.2.sublayers.0.q");
    assert_eq!(Place::Encoder.name("final_norm"), "encoder.final_norm");
    assert_ne!(Place::sublayer(1, 0).seed(5), Place::sublayer(1, 0).of(Stack::Encoder).seed(5));
}

/// A token of one stack computes with nothing of the other.
#[test]
fn operations_of_each_stack() {
    let (short, long) = (encoder_decoder(1), encoder_decoder(3));
    assert_eq!(Flops::of_token(&short, 9, 5), Flops::of_token(&long, 9, 5));
    let [short, long] = [short, long].map(|config| Flops::of_encoder(&config, 7));
    assert_eq!(long.products, 3 * short.products);
    assert_eq!(long.attention, 3 * short.attention);
    assert_eq!(long.logits, 0);
    let parameters = Parameters::of(&encoder_decoder(1));
    let heads = u64::from(encoder_decoder(1).biased_heads(Stack::Decoder).unwrap());
    let biases = 2 * 8 * heads;
    let without = ModelConfig { relative_bias: None, ..encoder_decoder(1) };
    assert_eq!(Parameters::of(&without).total() + biases / 2, parameters.total());
}

#[test]
fn stacks_that_do_not_fit_are_refused() {
    let refused = |key: &str, change: &dyn Fn(&mut ModelConfig)| {
        let mut config = encoder_decoder(2);
        change(&mut config);
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(&format!("'{key}")), "expected {key}: {error}");
    };
    fn encoder(config: &mut ModelConfig) -> &mut Encoder {
        config.encoder.as_mut().unwrap()
    }
    fn attention(block: &mut Block) -> &mut Attention {
        let Op::Attention(attention) = &mut block.sublayers[0].op else { panic!("attention first") };
        attention
    }
    let bias = |buckets, max_distance| Some(RelativeBias { buckets, max_distance });
    refused("encoder.blocks", &|config| encoder(config).blocks.clear());
    refused("encoder.start_id", &|config| encoder(config).start_id = config.vocab_size);
    refused("encoder.final_norm.eps", &|config| encoder(config).final_norm.eps = 0.0);
    refused("encoder.blocks[0].sublayers[0].attention.heads", &|config| {
        let of = attention(&mut encoder(config).blocks[0]);
        (of.heads, of.kv_heads) = (0, 0);
    });
    refused("encoder", &|config| config.blocks.iter_mut().for_each(|block| drop(block.sublayers.remove(1))));
    refused("blocks.1.sublayers.0.attention.bidirectional", &|config| {
        attention(&mut config.blocks[1]).bidirectional = true;
    });
    refused("encoder.blocks.1.sublayers.0.attention.bidirectional", &|config| {
        attention(&mut encoder(config).blocks[1]).bidirectional = false;
    });
    refused("encoder.blocks.0.sublayers.0.attention.window", &|config| {
        attention(&mut encoder(config).blocks[0]).window = Some(4);
    });
    refused("encoder.blocks.0.sublayers.2.cross_attention", &|config| {
        let cross = config.blocks[0].sublayers[1].clone();
        encoder(config).blocks[0].sublayers.push(cross);
    });
    refused("relative_bias.buckets", &|config| config.relative_bias = bias(1, 12));
    refused("relative_bias.max_distance", &|config| config.relative_bias = bias(8, 4));
    refused("encoder.relative_bias.buckets", &|config| encoder(config).relative_bias = bias(3, 12));
    refused("encoder.relative_bias", &|config| attention(&mut encoder(config).blocks[1]).heads *= 2);
}

/// K and V of the encoder's tokens are computed in its pass, and a step takes four dispatches to attend to them.
#[test]
fn keys_and_values_are_computed_once() {
    let config = encoder_decoder(2);
    let plan = plan(&config, &Capabilities::webgpu(), "f32", 64);
    let (encoder, _) = plan.encoder.as_ref().unwrap();
    let made = encoder.steps.iter().filter(|step| step.site.what == "kv");
    let made: Vec<_> = made.map(|step| step.site.sublayer).collect();
    assert_eq!(made, [Some((0, 1)), Some((1, 1))]);
    for (schedule, expected) in [
        (&plan.decode.0, vec!["q", "attend", "merge", "out"]),
        (&plan.prefill.0, vec!["norm", "q", "attend", "out"]),
    ] {
        let steps = schedule.steps.iter().filter(|step| step.site.sublayer == Some((1, 1)));
        assert_eq!(steps.map(|step| step.site.what).collect::<Vec<_>>(), expected);
        assert!(!schedule.steps.iter().any(|step| step.site.what == "kv"));
    }
    let named = plan.named_bytes();
    let Op::CrossAttention(cross) = &config.blocks[0].sublayers[1].op else {
        panic!("cross-attention second")
    };
    assert_eq!(named["blocks.0.sublayers.1.encoder_kv"], 64 * 2 * u64::from(cross.kv_rows()) * 4);
    // What an encoder attends to is gone with its pass.
    assert!(!named.keys().any(|name| name.starts_with("encoder.") && name.contains("cache")));
}
