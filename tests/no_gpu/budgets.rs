//! How many dispatches a sub-layer takes, and that none of them is one workgroup doing a large kernel's work.

use std::collections::BTreeMap;

use wattle::kernel::Span;
use wattle::model::config::{ModelConfig, Op, SubLayer};
use wattle::model::forward::Sampling;
use wattle::schedule::Schedule;

use crate::models::config;
use crate::shapes::{
    devices, families, large, large_on, one_row, plan, plan_chunk, plan_integer, plan_sampling, plan_trained,
    routings, small,
};

/// Bytes that one workgroup may move.
const MOST_BYTES: u64 = 1_000_000;

/// Dispatches that a decode step and a prompt may take in a sub-layer.
fn budget(layer: &SubLayer) -> [usize; 2] {
    let [decode, prefill] = match &layer.op {
        Op::Attention(_) => [5, 6],
        Op::CrossAttention(_) => [4, 4],
        Op::FeedForward(_) => [2, 3],
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
    [decode, prefill].map(|most| most + usize::from(layer.post_norm.is_some()))
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
            let most = most + 2 * more;
            let phase = ["decode", "prefill"][n];
            let steps = &steps[&at];
            assert!(
                steps.len() <= most,
                "{name}, {phase}, sub-layer {block}.{index}: at most {most}, found {steps:?}"
            );
        }
    }
    // Outside of sub-layers: the embedding, the head, and the two halves of sampling.
    let head: &[&str] = if more == 0 { &["head"] } else { &["quantize", "head"] };
    assert_eq!(counted[0][&None], [&["embed"], head, &["sample", "sample"]].concat(), "{name}, decode");
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
        let bytes = step.launch.work(span).total_bytes().least;
        let workgroups = step.launch.workgroups(span);
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
                    (step.launch.workgroups(one_row(0)), step.launch.work(one_row(0)).total_bytes().most)
                })
                .collect();
            let [(many, _), (1, picked)] = found[..] else { panic!("{sampling:?}: {found:?}") };
            assert!(many >= 64 && picked <= MOST_BYTES / 20, "{sampling:?}: {found:?}");
        }
    }
}
