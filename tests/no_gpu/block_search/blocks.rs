//! Blocks: drawn, changed, and as models.

use std::collections::HashSet;

use wattle::model::config::Op;
use wattle::model::parameters::Parameters;
use wattle::model::presets;

use super::published::{self, GLAM};
use super::random::Random;
use super::shape::{Scale, Shape, Size, head_dim};
use super::space::{Activation, Block, Choice, Gating, HEADS, Network, SUBLAYERS, Space, SubLayer, WIDTHS};

const SPACE: Space = Space { min_attention: 2, own_widths: false };
const WITH_WIDTHS: Space = Space { own_widths: true, ..SPACE };

fn shape(scale: &str) -> Shape {
    Shape { scale: scale.parse().unwrap(), experts: 32, repeats: 3, tokens: 8 }
}

fn attention(block: &Block) -> usize {
    block.letters().matches('a').count()
}

#[test]
fn blocks_are_models() {
    let mut random = Random::new(1);
    for scale in ["1/256", "1/16", "1", "4"] {
        let shape = shape(scale);
        for n in 0..200 {
            let block = [SPACE, WITH_WIDTHS][n % 2].draw(&mut random);
            let model = shape.model(&block);
            model.validate().unwrap_or_else(|error| panic!("{scale}, block {n} {block}: {error}"));
            assert_eq!(model.blocks.len(), 3);
            assert!(model.blocks.iter().all(|block| block.sublayers.len() == SUBLAYERS));
        }
    }
}

#[test]
fn all_choices_are_drawn_and_reached_by_mutation() {
    let words = |block: &Block| -> Vec<String> { block.to_string().split(' ').map(String::from).collect() };
    let mut random = Random::new(2);
    let (mut drawn, mut reached) = (HashSet::new(), HashSet::new());
    let mut block = GLAM;
    for _ in 0..4000 {
        let new = SPACE.draw(&mut random);
        assert!(attention(&new) >= SPACE.min_attention, "{new}");
        drawn.extend(words(&new));
        block = SPACE.mutate(&block, &mut random);
        assert!(attention(&block) >= SPACE.min_attention, "{block}");
        reached.extend(words(&block));
    }
    // Three widths, three numbers of heads, networks of four widths with four activations: dense, and as experts with two
    // ways to choose and four capacities.
    assert_eq!(drawn.len(), 3 + 3 + 16 + 16 * 8, "{drawn:?}");
    assert_eq!(drawn, reached);
}

/// Choices that two sub-layers differ in; another type is one.
fn differences(old: &SubLayer, new: &SubLayer) -> usize {
    let of_networks = |a: &Network, b: &Network| {
        usize::from(a.hidden != b.hidden) + usize::from(a.activation != b.activation)
    };
    match (old, new) {
        (SubLayer::Attention { heads: a }, SubLayer::Attention { heads: b }) => usize::from(a != b),
        (SubLayer::FeedForward(a), SubLayer::FeedForward(b)) => of_networks(a, b),
        (SubLayer::Experts(a, from), SubLayer::Experts(b, to)) => {
            of_networks(a, b) + usize::from(from.by != to.by) + usize::from(from.factor != to.factor)
        }
        _ => 1,
    }
}

#[test]
fn a_change_is_one_choice() {
    let mut random = Random::new(3);
    let (mut same, mut resized, mut retyped) = (0, 0, 0);
    for _ in 0..4000 {
        let parent = SPACE.draw(&mut random);
        let mut child = parent;
        SPACE.change(&mut child, &mut random);
        let pairs: Vec<_> = parent.sublayers.iter().zip(&child.sublayers).collect();
        let changed: usize = pairs.iter().map(|(old, new)| differences(old, new)).sum();
        if parent.width == child.width {
            assert!(changed <= 1, "{parent} became {child}");
            same += usize::from(changed == 0);
        } else {
            assert_eq!(parent.letters(), child.letters(), "{parent} became {child}");
            resized += 1;
        }
        retyped += usize::from(parent.letters() != child.letters());
    }
    // A ninth of all draws are widths; a choice may be drawn as it was, more seldom the more there are.
    assert!(same < 2000 && resized > 200 && retyped > 800, "{same} alike, {resized} widths, {retyped} types");
}

#[test]
fn another_width_keeps_the_weights_of_networks() {
    let mut random = Random::new(4);
    let (narrow, wide) = (Block { width: 512, ..GLAM }, Block { width: 1024, ..GLAM });
    let weights = |block: &Block| block.to_string().matches("1536").count();
    let mut other = narrow;
    while other.width != 1024 {
        other = narrow;
        SPACE.change(&mut other, &mut random);
    }
    assert_eq!(other.letters(), narrow.letters());
    assert_eq!([weights(&other), weights(&wide)], [4, 0], "{other}");
}

#[test]
fn a_third_of_all_mutations_is_one_change() {
    let mut random = Random::new(5);
    let sites = |block: &Block| {
        let sublayers = block.sublayers.iter().zip(&GLAM.sublayers);
        sublayers.filter(|(new, old)| new != old).count() + usize::from(block.width != GLAM.width)
    };
    let children: Vec<_> = (0..2000).map(|_| SPACE.mutate(&GLAM, &mut random)).collect();
    assert!(children.iter().all(|child| *child != GLAM));
    let one = children.iter().filter(|child| sites(child) == 1).count();
    assert!((600..1000).contains(&one), "{one} of 2000 in one place");
}

/// Off, there are none; on, all are drawn and reached, none is the block's, and each is a sub-layer of the model.
#[test]
fn sublayers_have_widths_of_their_own_where_they_may() {
    let mut random = Random::new(6);
    let (mut drawn, mut reached, mut block) = (HashSet::new(), HashSet::new(), GLAM);
    for _ in 0..1000 {
        assert_eq!(SPACE.draw(&mut random).own_widths, [None; SUBLAYERS]);
        block = WITH_WIDTHS.mutate(&block, &mut random);
        let new = WITH_WIDTHS.draw(&mut random);
        drawn.extend(new.own_widths.map(|own| (new.width, own)));
        reached.extend(block.own_widths.map(|own| (block.width, own)));
    }
    // Of three widths each meets the two others, or none.
    assert_eq!(drawn.len(), 9, "{drawn:?}");
    assert_eq!(drawn, reached);
    assert!(drawn.iter().all(|(width, own)| *own != Some(*width)), "{drawn:?}");
}

#[test]
fn an_own_width_is_two_projections() {
    let (plain, mut block) = (shape("1/16").size(&GLAM), GLAM);
    block.own_widths[1] = Some(1024);
    assert!(block.to_string().contains(" f3072.geglu@1024 "), "{block}");
    let model = shape("1/16").model(&block);
    model.validate().unwrap();
    assert_eq!(model.blocks[0].sublayers.iter().filter_map(|layer| layer.width).collect::<Vec<_>>(), [64]);
    // Three blocks, each with a gated network of 192 that is 64 and not 48 wide.
    let more = 3 * (2 * 48 * 64 + 3 * 192 * (64 - 48));
    let found = shape("1/16").size(&block);
    assert_eq!([found.total - plain.total, found.activated - plain.activated], [more; 2]);
    // Heads fit into the sub-layer.
    block.own_widths[0] = Some(512);
    let model = shape("1").model(&block);
    let Op::Attention(attention) = &model.blocks[0].sublayers[0].op else { panic!("attention first") };
    assert_eq!((attention.heads, attention.head_dim), (12, 42));
}

/// Three blocks are the 12 layers of GLaM 0.1B, and Brainformer of 100M.
#[test]
fn published_blocks_have_the_parameters_of_published_models() {
    for (block, preset) in
        [(GLAM, presets::glam_100m_32e()), (published::BRAINFORMER_2, presets::brainformer2_100m_32e())]
    {
        let of_preset = [Parameters::of(&preset), Parameters::activated(&preset)];
        let [total, activated] = of_preset.map(|parameters| parameters.total() - parameters.embedding);
        let size = shape("1").size(&block);
        assert_eq!(size, Size { total, activated }, "{}", preset.name);
        assert_eq!((size.proxy().powi(2) / total as f64).round() as u64, activated);
    }
    let letters = published::PUBLISHED.map(|(_, block)| block.letters());
    assert_eq!(letters, ["afagafag", presets::orders::BRAINFORMER_1, presets::orders::BRAINFORMER_2]);
}

#[test]
fn tokens_use_as_many_experts_as_have_room() {
    let size = |by, factor| {
        let mut block = GLAM;
        block.sublayers[3] = SubLayer::Experts(
            Network { hidden: 2048, activation: Activation::GatedRelu },
            Gating { by, factor },
        );
        shape("1").size(&block)
    };
    let expert = 3 * 3 * 768 * 2048;
    let [one, two, four] = [1, 2, 4].map(|factor| size(Choice::Top2, factor));
    assert_eq!([two.activated - one.activated, four.activated - two.activated], [expert, 0]);
    for factor in 1..=4 {
        let chosen = size(Choice::Experts, factor);
        assert_eq!(chosen.activated, one.activated + u64::from(factor - 1) * expert, "factor {factor}");
        assert_eq!(chosen.total, one.total);
    }
}

#[test]
fn heads_are_even_and_fit_where_they_can() {
    assert_eq!(
        [[1024, 12], [1024, 16], [768, 20], [48, 12], [32, 12]].map(|[w, h]| head_dim(w, h)),
        [84, 64, 38, 4, 2]
    );
    assert_eq!(head_dim(32, 20), 2, "too many heads for the width");
    for width in WIDTHS {
        for heads in HEADS {
            let dim = head_dim(width, heads);
            assert!(
                dim.is_multiple_of(2) && dim * heads <= width && (dim + 2) * heads > width,
                "{width} {heads}"
            );
        }
    }
}

#[test]
fn scales_keep_widths_whole() {
    for (text, width) in [("1/16", 48), ("2", 1536), ("3/2", 1152), ("1", 768), ("1/256", 3)] {
        let scale: Scale = text.parse().unwrap();
        assert_eq!((scale.of(768), scale.to_string().as_str()), (width, text));
    }
    assert_eq!("1/16".parse(), Ok(Scale::SIXTEENTH));
    for text in ["1/512", "1/3", "0", "1/0", "-1", "0.5", "", "1/", "a", "1/16/2"] {
        let error = text.parse::<Scale>().unwrap_err();
        assert!(error.starts_with(&format!("'{text}' is no fraction")), "{error}");
    }
}
