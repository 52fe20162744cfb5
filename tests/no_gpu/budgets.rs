//! How many dispatches a sub-layer takes, and that none of them is one workgroup doing a large kernel's work.

use std::collections::{BTreeMap, BTreeSet};

use wattle::energy::ByteClass;
use wattle::kernel::Span;
use wattle::model::config::{ModelConfig, Op, SubLayer};
use wattle::model::forward::Sampling;
use wattle::schedule::{Schedule, Step};

use crate::models::config;
use crate::shapes::{
    devices, families, large, large_on, one_row, plan, plan_chunk, plan_integer, plan_many, plan_sampling,
    plan_trained, routings, small,
};

/// Bytes that one workgroup may move.
const MOST_BYTES: u64 = 1_000_000;

/// Dispatches that a decode step and a prompt may take in a sub-layer.
fn budget(layer: &SubLayer) -> [usize; 2] {
    let [decode, prefill] = match &layer.op {
        Op::Attention(_) => [5, 6],
        // With queries of a latent and without.
        Op::LatentAttention(_) => [8, 10],
        Op::CrossAttention(_) => [4, 4],
        Op::FeedForward(_) => [2, 3],
        Op::LayerInput(_) => [2, 2],
        Op::Experts(experts) => [5, 9].map(|most| most + 2 * usize::from(experts.shared.is_some())),
        Op::Parallel(branches) => {
            // Beside experts a dense branch takes two, and a norm after it one.
            let beside_experts = branches.iter().any(|branch| matches!(branch.op, Op::Experts(_)));
            let of_branch = |branch: &SubLayer| match branch.op {
                Op::FeedForward(_) if beside_experts => [2 + usize::from(branch.post_norm.is_some()); 2],
                _ => budget(branch),
            };
            branches.iter().map(of_branch).fold([0, 0], |[a, b], [decode, prefill]| [a + decode, b + prefill])
        }
    };
    // Gates of which only the largest take part are a step of their own, and a branch that keeps its input has it normed.
    let is_sparse = matches!(&layer.op, Op::FeedForward(ffn) if ffn.sparsity.is_some());
    let more =
        [layer.post_norm.is_some(), is_sparse, layer.keep_input].map(usize::from).iter().sum::<usize>();
    [decode, prefill].map(|most| most + more)
}

/// What mixes residual streams, where there are several, counts with the first sub-layer of a block and with the last that does
/// not read an embedding of its own.
fn mixing(config: &ModelConfig, block: usize, index: usize) -> usize {
    let is_reader = |layer: &&SubLayer| matches!(layer.op, Op::LayerInput(_));
    let works = config.blocks[block].sublayers.iter().filter(|layer| !is_reader(layer)).count();
    match config.streams {
        Some(_) => usize::from(index == 0) + usize::from(index + 1 == works),
        None => 0,
    }
}

/// Dispatches by sub-layer, with what each does.
fn by_sublayer(schedule: &Schedule) -> BTreeMap<Option<(u32, u32)>, Vec<&'static str>> {
    let mut steps = BTreeMap::<_, Vec<_>>::new();
    for step in &schedule.steps {
        steps.entry(step.site.sublayer).or_default().push(step.site.what);
    }
    steps
}

/// `more` is what each product of a sub-layer, into it and out of it, may take besides.
fn assert_within_budget(name: &str, config: &ModelConfig, schedules: [&Schedule; 2], more: usize) {
    let counted = schedules.map(by_sublayer);
    for (block, index, layer) in config.sublayers() {
        let at = Some((block as u32, index as u32));
        for (n, (steps, most)) in counted.iter().zip(budget(layer)).enumerate() {
            let most = most + 2 * more + mixing(config, block, index);
            let phase = ["decode", "prefill"][n];
            let steps = &steps[&at];
            assert!(
                steps.len() <= most,
                "{name}, {phase}, sub-layer {block}.{index}: at most {most}, found {steps:?}"
            );
        }
    }
    // Outside of sub-layers: the embedding, positions where they are learned, those of all layers together, the head, and the two
    // halves of sampling.
    let head: &[&str] = if more == 0 { &["head"] } else { &["quantize", "head"] };
    let embed: &[&str] = if config.learned_positions { &["embed", "positions"] } else { &["embed"] };
    let of_layers: &[&str] = match config.layer_inputs {
        Some(_) => &["layer_rows", "layer_projection", "layer_norm"],
        None => &[],
    };
    let others = config.streams.map_or(0, |streams| streams.count as usize - 1);
    let join = [["take", "project_stream"].repeat(others), vec!["join"; others.min(1)]].concat();
    let mut steps = [embed, of_layers].concat();
    steps.extend(["project_streams", "start"].iter().filter(|_| others > 0));
    steps.extend(join);
    steps.extend(head.iter().chain(&["sample", "sample"]));
    assert_eq!(counted[0][&None], steps, "{name}, decode");
}

#[test]
fn sublayers_stay_within_their_dispatches() {
    for device in devices() {
        for format in ["f32", "f16", "int8", "int4", "int2"] {
            for (name, config) in small().into_iter().chain(families()) {
                let plan = plan(&config, &device, format, config.context_length);
                let name = format!("{name} in {format}");
                assert_within_budget(&name, &config, [&plan.decode.0, &plan.prefill.0], 0);
            }
        }
    }
    let [_, device] = devices();
    for (name, config) in large() {
        let plan = plan(&config, &device, "int4", config.context_length);
        assert_within_budget(&name, &config, [&plan.decode.0, &plan.prefill.0], 0);
    }
}

/// A step of many sequences has as many dispatches as one of some, and reads no dense weight more often; a token of each is normed
/// first, as a prompt's are.
#[test]
fn steps_of_many_sequences_read_weights_once() {
    for device in devices() {
        for (name, config) in small() {
            let [some, many] =
                [16, 40].map(|sequences| plan_many(&config, &device, "int8", sequences).decode.0);
            let whats = |schedule: &Schedule| -> Vec<_> {
                schedule.steps.iter().map(|step| (step.site, step.launch.name())).collect()
            };
            assert_eq!(whats(&many).len(), whats(&some).len(), "{name}");
            assert_within_prompt_budget(&name, &config, &many);
            let weights = |sequences: u32| {
                let spans: Vec<Span> = (0..sequences).map(|n| one_row(3 * n)).collect();
                let dense = many.steps.iter().filter(|step| !step.site.what.starts_with("expert"));
                let bytes = |step: &Step| step.launch.work(&spans).bytes_of(ByteClass::Weight).least;
                // The embedding reads a row for each token.
                dense.filter(|step| step.site.what != "embed").map(bytes).sum::<u64>()
            };
            assert_eq!(weights(40), weights(1), "{name}");
        }
    }
}

fn assert_within_prompt_budget(name: &str, config: &ModelConfig, decode: &Schedule) {
    let counted = by_sublayer(decode);
    for (block, index, layer) in config.sublayers() {
        let (steps, [_, most]) = (&counted[&Some((block as u32, index as u32))], budget(layer));
        assert!(steps.len() <= most, "{name}, sub-layer {block}.{index}: at most {most}, found {steps:?}");
    }
}

/// Every routing, with every order of grants, at inference and as trained.
#[test]
fn every_routing_stays_within_its_dispatches() {
    for device in devices() {
        for (name, config) in routings() {
            for training in [None, Some(1)] {
                let plan = plan_trained(&config, &device, training);
                let name = format!("{name}, training {training:?}");
                assert_within_budget(&name, &config, [&plan.decode.0, &plan.prefill.0], 0);
            }
        }
    }
}

/// Up to 8 tokens there is no plan, unless experts take no more than a share; and no atomics or reads in between.
#[test]
fn few_tokens_need_no_plan() {
    for (name, config) in routings() {
        let plan = plan_chunk(&config, &devices()[0], 8);
        let has_plan = plan.prefill.0.steps.iter().any(|step| step.launch.name() == "moe_scan");
        let Op::Experts(experts) = &config.blocks[0].sublayers[0].op else { panic!("{name}: experts first") };
        assert_eq!(has_plan, experts.capacity.is_some(), "{name}");
    }
}

/// A step of more sequences is planned, so that it reads an expert once for all tokens that have it.
#[test]
fn steps_of_many_sequences_are_planned() {
    for (name, config) in routings() {
        for (sequences, is_planned) in [(8, false), (9, true)] {
            let plan = plan_many(&config, &devices()[0], "f32", sequences);
            let has_plan = plan.decode.0.steps.iter().any(|step| step.launch.name() == "moe_scan");
            assert_eq!(has_plan, is_planned, "{name}, {sequences} sequences");
        }
    }
}

/// Above 1024 slots, of which each token has as many as choices, a plan has a workgroup for every 256; but for kernels that are one
/// workgroup by what they do, `docs/decisions/0021-routings-that-compare-tokens.md`.
#[test]
fn plans_of_many_slots_are_spread() {
    const ALONE: [&str; 3] = ["moe_scan", "moe_sinkhorn", "moe_auction"];
    let mut seen = BTreeSet::new();
    for device in devices() {
        for (name, config) in routings() {
            let Op::Experts(experts) = &config.blocks[0].sublayers[0].op else { panic!("{name}: experts") };
            for training in [None, Some(1)] {
                let plan = plan_trained(&config, &device, training);
                let steps = plan.prefill.0.steps.iter().map(|step| &step.launch);
                for launch in steps.filter(|launch| launch.name().starts_with("moe_")) {
                    seen.insert(launch.name());
                    for slots in [1025, 2048, 4096, 8192, 30_000] {
                        let span = Span { position: 0, rows: u32::div_ceil(slots, experts.top_k) };
                        let found = launch.workgroups(&[span]);
                        let least = u64::from(slots).div_ceil(256);
                        assert!(
                            found >= least || ALONE.contains(&launch.name()),
                            "{name}, {slots} slots, {}: {found} workgroups, at least {least}",
                            launch.name()
                        );
                    }
                }
            }
        }
    }
    for kernel in ["count", "place", "priority", "scores", "expert_choice", "list", "lookup", "route"] {
        assert!(seen.contains(format!("moe_{kernel}").as_str()), "{kernel}: {seen:?}");
    }
}

/// Inputs become codes once for each product that reads them, and nothing else changes.
#[test]
fn the_integer_path_takes_a_dispatch_more_for_each_product() {
    for device in devices() {
        for (name, config) in small() {
            let plan = plan_integer(&config, &device, "int4", config.context_length);
            assert_within_budget(&name, &config, [&plan.decode.0, &plan.prefill.0], 1);
            for schedule in [&plan.decode.0, &plan.prefill.0] {
                let made = schedule.steps.iter().filter(|step| step.site.what == "quantize").count();
                assert_eq!(made, 2 * config.sublayers().count() + 1, "{name}");
            }
        }
    }
}

/// Each distinct byte counts once: what a kernel reads again comes from a cache.
fn assert_spread(name: &str, schedule: &Schedule, span: Span) {
    for step in &schedule.steps {
        let bytes = step.launch.work(&[span]).total_bytes().least;
        let workgroups = step.launch.workgroups(&[span]);
        assert!(
            workgroups > 1 || bytes <= MOST_BYTES,
            "{name}, {span:?}, {}: {} moves {bytes} bytes in {workgroups} workgroup",
            step.site,
            step.launch.source()
        );
    }
}

#[test]
fn no_large_dispatch_is_one_workgroup() {
    for device in devices() {
        for (name, config) in large_on(&device) {
            let context = config.context_length;
            let plan = plan(&config, &device, "int8", context);
            for position in [0, 1, 255, 256, 1000, context / 2 + 1, context - 1] {
                assert_spread(&name, &plan.decode.0, one_row(position));
            }
            for rows in [1, 2, 3, 31, 33, 512] {
                for position in [0, 1000, context - rows] {
                    let span = Span { position, rows };
                    assert_spread(&name, &plan.prefill.0, span);
                    assert_spread(&name, &plan.part.0, span);
                }
            }
        }
    }
}

/// Sampling reads what it looks at once, so all its accesses count here and not only each distinct byte.
#[test]
fn sampling_from_a_large_vocabulary_is_no_work_for_one_workgroup() {
    let model = ModelConfig { vocab_size: 1 << 18, ..config("llama") };
    let base = Sampling { temperature: 1.0, ..Sampling::GREEDY };
    let top_k = Sampling { top_k: Sampling::MOST_KEPT, ..base };
    let ways =
        [Sampling::GREEDY, base, top_k, Sampling { top_p: 0.9, ..top_k }, Sampling { top_p: 0.9, ..base }];
    for device in devices() {
        for sampling in ways {
            let plan = plan_sampling(&model, &device, "int8", 64, sampling);
            assert_spread(&format!("{sampling:?}"), &plan.decode.0, one_row(0));
            let steps = plan.decode.0.steps.iter().filter(|step| step.site.what == "sample");
            let found: Vec<(u64, u64)> = steps
                .map(|step| {
                    (
                        step.launch.workgroups(&[one_row(0)]),
                        step.launch.work(&[one_row(0)]).total_bytes().most,
                    )
                })
                .collect();
            let [(many, _), (1, picked)] = found[..] else { panic!("{sampling:?}: {found:?}") };
            assert!(many >= 64 && picked <= MOST_BYTES / 20, "{sampling:?}: {found:?}");
        }
    }
}
