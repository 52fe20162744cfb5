//! A forward pass as data: equal when it is the same, readable, and impossible to put together wrongly.

use std::sync::Arc;

use wattle::Error;
use wattle::fragments::{InputNorm, Reduce};
use wattle::gpu::Capabilities;
use wattle::kernel::{AnyLaunch, Launch, fold_grid};
use wattle::kernels::norm::{Norm, NormParams};
use wattle::model::config::ModelConfig;
use wattle::schedule::{Schedule, Site};

use crate::models::config;
use crate::shapes::{devices, plan};

const SITE: Site = Site { sublayer: None, what: "test" };

#[test]
fn planning_twice_gives_the_same() {
    for device in devices() {
        for name in crate::forward::MODELS {
            let once = || plan(&config(name), &device, "int8", 64);
            assert_eq!(once(), once(), "{name}");
        }
    }
}

#[test]
fn schedules_differ_where_the_work_does() {
    let [device, rich] = devices();
    let model = config("llama");
    let wider = ModelConfig { hidden_size: 52, ..model.clone() };
    let schedule = |config, device, format, context| plan(config, device, format, context).decode.0;
    let first = schedule(&model, &device, "f32", 64);
    assert_eq!(first, schedule(&model, &device, "f32", 64));
    assert_ne!(first, schedule(&wider, &device, "f32", 64), "another width");
    assert_ne!(first, schedule(&model, &device, "f16", 64), "another format");
    assert_ne!(first, schedule(&model, &device, "f32", 65), "another context");
    assert_ne!(first, schedule(&model, &rich, "f32", 64), "another device");
    assert_ne!(first, plan(&model, &device, "f32", 64).prefill.0, "another phase");
}

/// A model of one expert layer: the shortest schedule with all parts of one.
fn tiny() -> ModelConfig {
    let model = config("mixtral");
    ModelConfig { blocks: vec![model.blocks[0].clone()], ..model }
}

const DECODE: &str = "\
embed           embed(token_ids=next_ids, y=hidden.0, words=embedding.words)
0.0 qkv         matvec(x=hidden.0, words=blocks.0.sublayers.0.qkv.words, scales=blocks.0.sublayers.0.qkv.scales, y=qkv, norm_weight=blocks.0.sublayers.0.norm)
0.0 heads       rope(qkv=qkv, rope_table=rope_table.0, q_out=q, k_out=blocks.0.sublayers.0.k_cache, v_out=blocks.0.sublayers.0.v_cache)
0.0 attend      attention(q=q, k_cache=blocks.0.sublayers.0.k_cache, v_cache=blocks.0.sublayers.0.v_cache, parts=parts)
0.0 merge       attention_merge(parts=parts, out=mixed)
0.0 out         matvec(x=mixed, words=blocks.0.sublayers.0.out.words, scales=blocks.0.sublayers.0.out.scales, residual=hidden.0, y=x)
0.1 router      matvec(x=x, words=blocks.0.sublayers.1.router.words, y=blocks.0.sublayers.1.router_logits, norm_weight=blocks.0.sublayers.1.norm)
0.1 route       moe_route(logits=blocks.0.sublayers.1.router_logits, expert_of_slot=blocks.0.sublayers.1.expert_of_slot, weight_of_slot=blocks.0.sublayers.1.weight_of_slot)
0.1 expert_up   matvec(x=x, words=blocks.0.sublayers.1.experts.gate_up.words, scales=blocks.0.sublayers.1.experts.gate_up.scales, y=expert_up, norm_weight=blocks.0.sublayers.1.norm, expert_of_slot=blocks.0.sublayers.1.expert_of_slot)
0.1 expert_down matvec(x=expert_up, words=blocks.0.sublayers.1.experts.down.words, scales=blocks.0.sublayers.1.experts.down.scales, y=expert_down, expert_of_slot=blocks.0.sublayers.1.expert_of_slot)
0.1 combine     moe_combine(expert_rows=expert_down, weight_of_slot=blocks.0.sublayers.1.weight_of_slot, y=last_block, residual=x)
head            matvec(x=last_block, words=head.words, scales=head.scales, y=logits, norm_weight=final_norm)
sample          sample_best(logits=logits, best=best)
sample          sample_pick(best=best, token_ids=next_ids, samples=samples, next_span=span)
";

#[test]
fn a_decode_step_reads_like_the_figure() {
    let schedule = plan(&tiny(), &Capabilities::webgpu(), "int4", 64).decode.0;
    // Variants are long and tested elsewhere; places, kernels and tensors tell the story.
    let short = |line: &str| {
        let (place, rest) = line.split_at(16);
        let (variant, tensors) = rest.split_once(" (").unwrap();
        format!("{place}{}({tensors}\n", variant.split_whitespace().next().unwrap())
    };
    let found: String = schedule.to_string().lines().map(short).collect();
    assert_eq!(found, DECODE, "found:\n{found}");
}

/// Prompts alone, dense products and experts' alike, and no weights in f32: the router's are, which its choice computes.
#[test]
fn prompts_use_cooperative_matrices_where_there_are_any() {
    let [without, with] = devices();
    let products = |device, format, kernel: &str| {
        let plan = plan(&tiny(), device, format, 64);
        let count = |text: String| text.lines().filter(|line| line.contains(kernel)).count();
        [count(plan.prefill.0.to_string()), count(plan.decode.0.to_string())]
    };
    assert_eq!(products(&with, "int4", " matmul_coop "), [4, 0]);
    assert_eq!(products(&with, "int4", " matmul "), [0, 0]);
    // Attention follows its queries.
    assert_eq!(products(&with, "int4", " attention_coop "), [1, 0]);
    assert_eq!(products(&with, "int4", " attention "), [0, 1]);
    for device in [&with, &without] {
        let format = if device == &with { "f32" } else { "int4" };
        assert_eq!(products(device, format, " attention_coop "), [0, 0]);
        assert_eq!(products(device, format, " attention "), [1, 1]);
    }
    assert_eq!(products(&with, "int4", " router/computed "), [1, 0]);
    assert_eq!(products(&with, "f32", " matmul_coop "), [0, 0]);
    assert_eq!(products(&without, "int4", " matmul_coop "), [0, 0]);
}

#[test]
fn a_line_names_the_variant() {
    let text = plan(&tiny(), &Capabilities::webgpu(), "int4", 64).decode.0.to_string();
    let qkv = text.lines().find(|line| line.contains("0.0 qkv")).unwrap();
    for part in ["matvec", "codec/int", "WIDTH=4", "norm/rms", "reduce/workgroup", "WORKGROUP_SIZE=32"] {
        assert!(qkv.contains(part), "'{qkv}' does not say '{part}'");
    }
}

fn norm(residual: bool) -> Arc<dyn AnyLaunch> {
    let variant =
        Norm { norm: InputNorm::Rms, residual, kept: false, scaled: false, reduce: Reduce::Workgroup };
    Launch { variant, params: NormParams { in_features: 4, eps: 1e-6, rows_per_token: 1, factor: 1.0 } }
        .shared()
}

#[track_caller]
fn assert_refused(result: Result<(), Error>, words: &[&str]) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Shape { kernel: "norm", .. }), "{error:?}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "'{text}' does not say '{word}'");
    }
}

#[test]
fn bindings_that_do_not_fit_are_refused() {
    let mut schedule = Schedule::new(1);
    let (x, weight) = (schedule.named("x", 16), schedule.named("weight", 16));
    let (y, z) = (schedule.activation("y", 16), schedule.activation("z", 16));
    let mut dispatch = |launch, tensors: &[_]| schedule.dispatch(SITE, launch, tensors);

    let missing = dispatch(norm(false), &[("x", x), ("y", y)]);
    assert_refused(missing, &["norm_weight", "none"]);
    let unknown = dispatch(norm(false), &[("x", x), ("norm_weight", weight), ("y", y), ("residual", x)]);
    assert_refused(unknown, &["3 tensors", "residual"]);
    let unwritten = dispatch(norm(false), &[("x", z), ("norm_weight", weight), ("y", y)]);
    assert_refused(unwritten, &["x", "'z', which nothing has written"]);
    let aliased = dispatch(norm(true), &[("x", x), ("norm_weight", weight), ("y", y), ("residual", y)]);
    assert_refused(aliased, &["y", "of its own"]);
    let in_place = dispatch(norm(false), &[("x", x), ("norm_weight", weight), ("y", x)]);
    assert_refused(in_place, &["y", "of its own"]);

    dispatch(norm(false), &[("x", x), ("norm_weight", weight), ("y", y)]).unwrap();
    dispatch(norm(true), &[("x", y), ("norm_weight", weight), ("y", z), ("residual", y)]).unwrap();
    assert_eq!(schedule.steps.len(), 2, "what is refused is not recorded");
    assert_eq!(schedule.dispatches(), [("norm", 2)]);
}

/// A tensor under one name twice: the larger size is the one that is needed.
#[test]
fn the_same_name_is_the_same_tensor() {
    let mut schedule = Schedule::new(1);
    let first = schedule.named("x", 16);
    assert_eq!(schedule.named("x", 64), first);
    assert_ne!(schedule.named("y", 16), first);
    assert_ne!(schedule.activation("x", 16), first, "activations have names for people only");
    assert_eq!(schedule.tensors[first.index()].bytes, 64);
}

#[test]
fn grids_are_folded_above_65535() {
    let most = 65_535u64;
    assert_eq!(fold_grid(0), Some([0, 1, 1]));
    assert_eq!(fold_grid(1), Some([1, 1, 1]));
    assert_eq!(fold_grid(most), Some([65_535, 1, 1]));
    assert_eq!(fold_grid(most + 1), Some([32_768, 2, 1]));
    assert_eq!(fold_grid(most * most), Some([65_535, 65_535, 1]));
    assert_eq!(fold_grid(most * most + 1), None);
    assert_eq!(fold_grid(u64::MAX), None);
    for workgroups in (most - 3..most + 3).chain([100_000, 131_071, 1 << 20, (1 << 31) + 1, most * most - 1])
    {
        let [x, y, z] = fold_grid(workgroups).unwrap().map(u64::from);
        assert!(x <= most && y <= most && z == 1, "{workgroups}: {x} x {y} x {z}");
        let surplus = x * y - workgroups;
        assert!(surplus < y, "{workgroups}: {x} x {y} launches {surplus} for nothing");
    }
}
