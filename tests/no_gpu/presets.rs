//! Named descriptions hold as many parameters as the models they are named for.

use std::collections::BTreeSet;

use wattle::kernels::expert_plan::MAX_EXPERTS;
use wattle::model::config::{ModelConfig, Op};
use wattle::model::parameters::Parameters;
use wattle::model::presets::{self, PRESETS, UNRELEASED, preset};

use crate::shapes::{devices, plan};

/// Parameters of the embedding table and of everything else. Exact, from the published tables (Gemma) and from the
/// shapes of the released checkpoints.
const PARAMETERS: [(&str, [u64; 2]); 7] = [
    ("gemma3-270m", [167_772_160, 100_326_016]),
    ("gemma3-1b", [301_989_888, 697_896_064]),
    ("gemma2-2b", [590_118_912, 2_024_517_888]),
    ("gemma3-4b", [671_088_640, 3_209_010_688]),
    ("llama3-8b", [525_336_576, 8_030_261_248 - 525_336_576]),
    ("qwen3-30b-a3b", [311_164_928, 30_532_122_624 - 311_164_928]),
    ("mixtral-8x7b", [131_072_000, 46_702_792_704 - 131_072_000]),
];

fn parameters(config: &ModelConfig) -> [u64; 2] {
    let counts = Parameters::of(config);
    [counts.embedding, counts.total() - counts.embedding]
}

#[test]
fn parameter_counts() {
    for (name, expected) in PARAMETERS {
        assert_eq!(parameters(&preset(name).unwrap()), expected, "{name}");
    }
}

#[test]
fn presets_are_valid_and_carry_their_names() {
    for (name, config) in PRESETS.iter().chain(&UNRELEASED) {
        let config = config();
        config.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.name, *name);
        assert_eq!(preset(name), Some(config));
    }
    assert_eq!(preset("gemma3-2b"), None);
}

/// Their passes are recorded, whatever the order of their sub-layers.
#[test]
fn models_of_papers_can_be_planned() {
    let [_, device] = devices();
    for (name, config) in UNRELEASED {
        let plan = plan(&config(), &device, "int4", 256);
        for schedule in [&plan.decode.0, &plan.prefill.0] {
            let sublayers: BTreeSet<_> =
                schedule.steps.iter().filter_map(|step| step.site.sublayer).collect();
            assert_eq!(sublayers.len(), config().sublayers().count(), "{name}");
        }
    }
}

/// Models that are counted and not run are valid, too, but for experts that kernels cannot take so many of.
#[test]
fn presets_to_be_counted_are_valid_but_for_their_experts() {
    let stacks = [presets::t5_xxl(), presets::st_moe_l(), presets::st_moe_32b(), presets::switch_c()];
    for mut config in stacks.into_iter().chain([presets::gshard_600b()]) {
        let name = config.name.clone();
        let of_encoder = config.encoder.iter_mut().flat_map(|encoder| &mut encoder.blocks);
        for sublayer in config.blocks.iter_mut().chain(of_encoder).flat_map(|block| &mut block.sublayers) {
            if let Op::Experts(experts) = &mut sublayer.op {
                experts.count = experts.count.min(MAX_EXPERTS);
            }
        }
        config.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for config in [presets::gshard_600b(), presets::switch_c()] {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("experts.count") && error.contains("found 2048"), "{}: {error}", config.name);
    }
}

#[test]
fn small_presets_have_all_kinds_of_sublayers() {
    for (name, with_experts) in [("tiny-dense", false), ("tiny-moe", true)] {
        let config = preset(name).unwrap();
        let millions = parameters(&config).iter().sum::<u64>() / 1_000_000;
        assert!((2..5).contains(&millions), "{name} has {millions} million parameters");
        let has = |wanted: fn(&Op) -> bool| config.sublayers().any(|(_, _, sublayer)| wanted(&sublayer.op));
        assert!(
            has(|op| matches!(op, Op::Attention(a) if a.window.is_some() && a.heads > a.kv_heads)),
            "{name}"
        );
        assert!(has(|op| matches!(op, Op::Attention(a) if a.window.is_none())), "{name}");
        assert!(has(|op| matches!(op, Op::FeedForward(_))), "{name}");
        assert_eq!(has(|op| matches!(op, Op::Experts(_))), with_experts, "{name}");
    }
}
