//! Layout strings: to blocks and back, what is refused, and that an order takes no kernel of its own.

use std::collections::BTreeSet;

use wattle::gpu::Capabilities;
use wattle::model::config::{
    Activation, Attention, Block, Experts, FeedForward, Head, ModelConfig, Norm, NormKind, Op, Routing,
};
use wattle::model::layout_string::Letters;
use wattle::model::presets::{self, orders};
use wattle::schedule::Schedule;

use crate::models::{attention, rope};
use crate::shapes::plan;

const NORM: Norm = Norm { kind: NormKind::Rms, eps: 1e-6 };

/// All four letters, each small and unlike the others.
pub fn letters() -> Letters {
    let expert = FeedForward::plain(32, Activation::Relu);
    Letters {
        norm: Some(NORM),
        post_norm: None,
        attention: Some(attention(4, 2, 8, rope(1e4, 8, wattle::model::config::RopeScaling::None))),
        feed_forward: Some(FeedForward::gated(48, Activation::Silu)),
        experts: Some(Experts::new(4, 2, Routing::softmax_topk(true), expert)),
        cross_attention: Some(Attention { rope: None, ..attention(4, 4, 8, None) }),
    }
}

/// A small model of these blocks.
pub fn model(blocks: Vec<Block>) -> ModelConfig {
    ModelConfig {
        name: String::new(),
        vocab_size: 64,
        hidden_size: 32,
        context_length: 64,
        encoder: None,
        relative_bias: None,
        embedding_scale: 1.0,
        learned_positions: false,
        layer_inputs: None,
        streams: None,
        blocks,
        final_norm: NORM,
        head: Head::default(),
    }
}

/// All strings over `alphabet` of at most `most` characters.
fn strings(alphabet: &str, most: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut longest = all.clone();
    for _ in 0..most {
        longest = longest
            .iter()
            .flat_map(|string| alphabet.chars().map(move |letter| format!("{string}{letter}")))
            .collect();
        all.extend(longest.clone());
    }
    all
}

/// Nothing is closed before the first group is opened, and of each that is opened the end is one and not at once.
fn is_layout(string: &str) -> bool {
    let (before, groups) = string.split_once('(').unwrap_or((string, ")"));
    let is_group = |rest: &str| rest.matches(')').count() == 1 && !rest.starts_with(')');
    let has_groups = string.contains('(');
    !string.is_empty() && !before.contains(')') && (!has_groups || groups.split('(').all(is_group))
}

#[test]
fn strings_become_blocks_and_come_back() {
    let (mut read, mut refused) = (0, 0);
    for string in strings("afgc()", 5) {
        match letters().block(&string) {
            Ok(block) => {
                assert!(is_layout(&string), "'{string}' was read");
                assert_eq!(block.layout_string(), string);
                model(vec![block]).validate().unwrap_or_else(|error| panic!("'{string}': {error}"));
                read += 1;
            }
            Err(error) => {
                assert!(!is_layout(&string), "'{string}': {error}");
                refused += 1;
            }
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused");
}

#[test]
fn letters_stand_for_what_they_are_given() {
    let with_post_norm = Letters { post_norm: Some(Norm { eps: 1e-5, ..NORM }), ..letters() };
    let Letters { attention, feed_forward, experts, cross_attention, norm, post_norm } =
        with_post_norm.clone();
    let block = with_post_norm.block("ag(fc)").unwrap();
    let [a, g, group] = &block.sublayers[..] else { panic!("three sub-layers") };
    assert_eq!(a.op, Op::Attention(attention.unwrap()));
    assert_eq!(g.op, Op::Experts(experts.unwrap()));
    for sublayer in [a, g, group] {
        assert_eq!((sublayer.norm, sublayer.post_norm), (norm, post_norm));
    }
    let Op::Parallel(branches) = &group.op else { panic!("a group") };
    assert_eq!(branches[0].op, Op::FeedForward(feed_forward.unwrap()));
    assert_eq!(branches[1].op, Op::CrossAttention(cross_attention.unwrap()));
    // All branches read the norm of the group.
    assert!(branches.iter().all(|branch| branch.norm.is_none() && branch.post_norm.is_none()));
}

#[test]
fn bad_strings_are_refused_with_letter_and_position() {
    let few = Letters { experts: None, cross_attention: None, ..letters() };
    for (string, found, expected) in [
        ("axf", "'x' at position 1", "one of the letters described here, ['a', 'f']"),
        ("A", "'A' at position 0", "one of the letters"),
        ("a f", "' ' at position 1", "one of the letters"),
        ("aéf", "'é' at position 1", "one of the letters"),
        ("fag", "'g' at position 2", "one of the letters"),
        ("(ac)", "'c' at position 2", "one of the letters"),
        ("a(f(a))", "'(' at position 3", "no group within another"),
        ("a()f", "')' at position 2", "a letter in every group"),
        ("af)", "')' at position 2", "a '(' before it"),
        ("a(f", "the end at position 3", "a ')'"),
        ("(", "the end at position 1", "a ')'"),
        ("", "the end at position 0", "at least one letter"),
    ] {
        let error = few.block(string).unwrap_err().to_string();
        for part in [&format!("'{string}'"), found, expected] {
            assert!(error.contains(part), "'{string}': {error}");
        }
    }
}

#[test]
fn published_orders() {
    for (order, sublayers) in [
        (orders::DENSE, 2),
        (orders::SWITCH, 2),
        (orders::GSHARD, 4),
        (orders::SPARSE_DENSE, 9),
        (orders::PARALLEL, 1),
        (orders::BRAINFORMER_1, 8),
        (orders::BRAINFORMER_2, 8),
        (orders::BRAINFORMER_SIX, 6),
    ] {
        let block = letters().block(order).unwrap();
        assert_eq!((block.sublayers.len(), block.layout_string().as_str()), (sublayers, order));
    }
    for (layers, coefficient, expected) in
        [(4, 0, "afafafaf"), (4, 1, "aafafaff"), (4, 3, "aaaaffff"), (2, 5, "aaff"), (0, 1, "")]
    {
        assert_eq!(orders::sandwich(layers, coefficient), expected);
    }
}

#[test]
fn presets_have_the_orders_of_their_papers() {
    let models = [presets::switch_c(), presets::st_moe_l(), presets::t5_xxl()];
    let stacks = models.into_iter().flat_map(|model| {
        let encoder = model.encoder.clone().unwrap();
        let encoder =
            ModelConfig { name: format!("{}-encoder", model.name), blocks: encoder.blocks, ..model.clone() };
        [encoder, ModelConfig { name: format!("{}-decoder", model.name), ..model }]
    });
    let named = presets::UNRELEASED.iter().map(|(_, config)| config());
    for config in named.chain([presets::gshard_600b()]).chain(stacks) {
        let expected: &[&str] = match config.name.as_str() {
            "glam-1.7b" | "glam-8b" | "t5-xxl-encoder" => &["af"],
            "t5-xxl-decoder" => &["acf"],
            "switch-c-encoder" => &["ag"],
            "switch-c-decoder" => &["acg"],
            "st-moe-l-encoder" => &["af", "af", "af", "ag"],
            "st-moe-l-decoder" => &["acf", "acf", "acf", "acg"],
            name if name.starts_with("palm") => &["(af)"],
            name if name.starts_with("glam") || name.starts_with("gshard") => &["afag"],
            name if name.starts_with("brainformer1") => &["agfagfgf"],
            name if name.starts_with("brainformer2") => &["agfgagfg"],
            name if name.starts_with("brainformer-six") => &["agfgfg"],
            name => panic!("{name} is not among those with an order"),
        };
        for (block, expected) in config.blocks.iter().zip(expected.iter().cycle()) {
            assert_eq!(block.layout_string(), *expected, "{}", config.name);
        }
    }
}

/// The shaders of a pass.
fn shaders(schedule: &Schedule) -> BTreeSet<String> {
    schedule.steps.iter().map(|step| step.launch.source().text()).collect()
}

#[test]
fn another_order_takes_no_other_shader() {
    let device = Capabilities::webgpu();
    let [expected, others @ ..] =
        ["afag", "agaf", "gafa", "aafg", "gffaga", "agfagfgf", "agfgagfg"].map(|order| {
            let plan = plan(&model(vec![letters().block(order).unwrap(); 2]), &device, "int8", 64);
            (order, [shaders(&plan.decode.0), shaders(&plan.prefill.0)])
        });
    assert!(expected.1.iter().all(|shaders| shaders.len() > 5), "{expected:?}");
    for (order, shaders) in others {
        assert_eq!(shaders, expected.1, "{order}");
    }
}
