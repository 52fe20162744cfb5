//! Sub-layers at a width of their own: described, counted, refused, dispatched, and computed by the reference.

use std::hash::{DefaultHasher, Hash, Hasher};

use wattle::Error;
use wattle::energy::ByteClass;
use wattle::gpu::Capabilities;
use wattle::model::config::{
    Activation, Block, Experts, FeedForward, ModelConfig, Norm, NormKind, Op, SubLayer,
};
use wattle::model::family;
use wattle::model::flops::Flops;
use wattle::model::layout::Layout;
use wattle::model::naming::Naming;
use wattle::model::parameters::Parameters;
use wattle::model::slot::{Place, Role, Slot, slots};
use wattle::reference::forward::{Cache, Trace, forward};
use wattle::reference::weights::Weights;
use wattle::schedule::Schedule;
use wattle::tuning::ProductPath;

use crate::layout_string::{letters, model};
use crate::shapes::{devices, one_row, plan, weights};
use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::random::Random;

const RMS: Norm = Norm { kind: NormKind::Rms, eps: 1e-5 };

/// A model 32 wide of one block, each sub-layer with its width.
fn with_widths(order: &str, widths: &[Option<u32>]) -> ModelConfig {
    let mut block = letters().block(order).unwrap();
    assert_eq!(block.sublayers.len(), widths.len(), "{order}");
    block.sublayers.iter_mut().zip(widths).for_each(|(layer, width)| layer.width = *width);
    model(vec![block])
}

fn sublayers(config: &mut ModelConfig) -> &mut [SubLayer] {
    &mut config.blocks[0].sublayers
}

#[test]
fn descriptions_are_read_again() {
    let config = with_widths("agf(af)", &[Some(24), None, Some(48), Some(32)]);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(json.matches(r#""width":"#).count(), 3, "{json}");
    assert_eq!(family::parse(&json).unwrap().0, config);
}

/// Within, everything has the width of the sub-layer; its norms have that of the residual stream.
#[test]
fn slots_have_the_width_at_hand() {
    let mut config = with_widths("g(af)", &[Some(24), Some(48)]);
    let [sparse, group] = sublayers(&mut config) else { panic!("two sub-layers") };
    sparse.post_norm = Some(RMS);
    let Op::Experts(experts) = &mut sparse.op else { panic!("experts first") };
    (experts.router_norm, experts.count) = (Some(RMS), 2);
    let Op::Parallel(branches) = &mut group.op else { panic!("a group second") };
    branches[1] = SubLayer { width: Some(20), ..SubLayer::new(RMS, branches[1].op.clone()) };
    let found: Vec<_> = slots(&config)
        .filter(|(slot, _)| slot.place.at().is_some())
        .map(|(slot, shape)| (Naming::Native.tensor_name(slot).replace("blocks.0.sublayers.", ""), shape))
        .collect();
    let expected: [(&str, &[usize]); 22] = [
        ("0.norm.weight", &[32]),
        ("0.project_in.weight", &[24, 32]),
        ("0.router_norm.weight", &[24]),
        ("0.router.weight", &[2, 24]),
        ("0.experts.0.up.weight", &[32, 24]),
        ("0.experts.0.down.weight", &[24, 32]),
        ("0.experts.1.up.weight", &[32, 24]),
        ("0.experts.1.down.weight", &[24, 32]),
        ("0.project_out.weight", &[32, 24]),
        ("0.post_norm.weight", &[32]),
        ("1.norm.weight", &[32]),
        ("1.project_in.weight", &[48, 32]),
        ("1.branches.0.q.weight", &[32, 48]),
        ("1.branches.0.k.weight", &[16, 48]),
        ("1.branches.0.v.weight", &[16, 48]),
        ("1.branches.0.out.weight", &[48, 32]),
        ("1.branches.1.norm.weight", &[48]),
        ("1.branches.1.project_in.weight", &[20, 48]),
        ("1.branches.1.gate.weight", &[48, 20]),
        ("1.branches.1.up.weight", &[48, 20]),
        ("1.branches.1.down.weight", &[20, 48]),
        ("1.branches.1.project_out.weight", &[48, 20]),
    ];
    let last = ("1.project_out.weight", [32, 48]);
    let expected = expected.map(|(name, shape)| (name.to_owned(), shape.to_vec())).into_iter();
    assert_same("slots", &found, &expected.chain([(last.0.to_owned(), last.1.to_vec())]).collect::<Vec<_>>());
}

#[test]
fn projections_are_counted() {
    let plain = with_widths("agf", &[None; 3]);
    let config = with_widths("agf", &[Some(24), Some(48), None]);
    let [before, found] = [&plain, &config].map(Parameters::of);
    assert_eq!((before.projections, found.projections), (0, 2 * 32 * (24 + 48)));
    assert_eq!([before.attention, found.attention], [96 * 32, 96 * 24]);
    assert_eq!([before.experts, found.experts], [4 * 2 * 32 * 32, 4 * 2 * 32 * 48]);
    assert_eq!([before.routers, found.routers], [4 * 32, 4 * 48]);
    assert_eq!((before.feed_forward, before.others), (found.feed_forward, found.others));
    let stored: usize = slots(&config).map(|(_, shape)| shape.iter().product::<usize>()).sum();
    assert_eq!(found.total(), stored as u64);
    // A token uses two of four experts, and a sum of counts has every one.
    let used = Parameters::activated(&config);
    assert_eq!(used, Parameters { experts: found.experts / 2, ..found });
    assert_eq!((used + used).projections, 2 * used.projections);
    let products = used.attention + used.experts + used.routers + used.feed_forward + used.projections;
    assert_eq!(Flops::of_token(&config, 7, 0).products, 2 * products);
}

/// What a layout says is read is what its schedule reads, norms apart.
#[test]
fn a_step_reads_the_projections() {
    let config = with_widths("af(af)", &[Some(24), Some(48), Some(20)]);
    for format in ["f32", "f16", "int4"] {
        let layout = Layout::new(&config, &weights(format), &Capabilities::webgpu()).unwrap();
        let work = plan(&config, &Capabilities::webgpu(), format, 64).decode.0.work(one_row(5));
        let read = [ByteClass::Weight, ByteClass::ScaleZp].map(|class| work.bytes_of(class).least);
        // In the group projections alone read the norm.
        let norms: u64 = layout.vectors().map(|norm| norm.bytes()).sum();
        assert_eq!(read.iter().sum::<u64>(), layout.bytes_read_per_step() + norms, "{format}");
    }
}

#[test]
fn widths_that_make_no_sense_are_refused() {
    let refused = |config: &ModelConfig, key: &str| {
        let error = config.validate().unwrap_err();
        assert!(matches!(&error, Error::Config { key: found, .. } if found == key), "{key}: {error}");
    };
    for width in [1, 7, 32, 1000] {
        with_widths("agf(af)", &[Some(width); 4]).validate().unwrap();
    }
    refused(&with_widths("af", &[None, Some(0)]), "blocks[0].sublayers[1].width");
    refused(&with_widths("ac", &[None, Some(24)]), "blocks[0].sublayers[1].width");
    refused(&with_widths("(fc)", &[Some(24)]), "blocks[0].sublayers[0].width");
    let mut in_branch = with_widths("(af)", &[None]);
    let Op::Parallel(branches) = &mut sublayers(&mut in_branch)[0].op else { panic!("a group") };
    branches[1].width = Some(0);
    refused(&in_branch, "blocks[0].sublayers[0].parallel[1].width");
    // Four experts of so many outputs each.
    refused(&with_widths("g", &[Some(1 << 30)]), "blocks[0].sublayers[0].experts.count");
}

/// What a sub-layer does, in order.
fn steps(schedule: &Schedule, index: u32) -> Vec<&'static str> {
    let of = schedule.steps.iter().filter(|step| step.site.sublayer == Some((0, index)));
    of.map(|step| step.site.what).collect()
}

/// Two dispatches more, whatever lies between: in decode the first of them norms on the way in.
#[test]
fn a_width_takes_two_dispatches() {
    for device in devices() {
        for post_norm in [None, Some(RMS)] {
            let of = |width| {
                let mut config = with_widths("agf(af)", &[width; 4]);
                sublayers(&mut config).iter_mut().for_each(|layer| layer.post_norm = post_norm);
                let plan = plan(&config, &device, "int4", 64);
                [plan.decode.0, plan.prefill.0]
            };
            let (plain, found) = (of(None), of(Some(24)));
            for (phase, (plain, found)) in plain.iter().zip(&found).enumerate() {
                for index in 0..4 {
                    let mut expected = steps(plain, index);
                    let norms = usize::from(phase == 1);
                    expected.insert(norms, "project_in");
                    expected.insert(expected.len() - usize::from(post_norm.is_some()), "project_out");
                    assert_eq!(steps(found, index), expected, "phase {phase}, sub-layer {index}");
                    assert_eq!(expected.contains(&"norm"), phase == 1, "{expected:?}");
                }
            }
        }
    }
}

/// Gaussian numbers that belong to a slot; projections pass on what they are given.
fn with_identities(slot: Slot, shape: &[usize]) -> Vec<f32> {
    if matches!(slot.role, Role::ProjectIn | Role::ProjectOut) {
        let [rows, cols] = [shape[0], shape[1]];
        return (0..rows * cols).map(|at| if at / cols == at % cols { 1.0 } else { 0.0 }).collect();
    }
    let mut hasher = DefaultHasher::new();
    slot.hash(&mut hasher);
    Random::new(hasher.finish()).gaussian(shape.iter().product()).into_iter().map(|x| 0.2 * x).collect()
}

fn traced(config: &ModelConfig, fetch: impl Fn(Slot, &[usize]) -> Vec<f32>, ids: &[u32]) -> Trace {
    let fetch = |slot, shape: &[usize]| Ok(fetch(slot, shape));
    let weights = Weights::build(config, &weights("f32"), ProductPath::Float, fetch).unwrap();
    forward(config, &weights, &mut Cache::new(config), ids).unwrap()
}

#[test]
fn projections_that_do_nothing_change_nothing() {
    let with_norms = |width| {
        let mut config = with_widths("agf(af)", &[width; 4]);
        sublayers(&mut config).iter_mut().for_each(|layer| layer.post_norm = Some(RMS));
        config
    };
    let ids = [3, 1, 4, 1, 5, 9];
    let [plain, same] = [None, Some(32)].map(|width| traced(&with_norms(width), with_identities, &ids));
    assert_eq!(plain, same);
    // Where only 24 of 32 pass, it does.
    assert_ne!(plain.logits, traced(&with_norms(Some(24)), with_identities, &ids).logits);
}

/// `(x + rms(out · down · relu(up · in · rms(x))))`, and a router that reads a norm of what `in` gives.
#[test]
fn the_reference_computes_what_is_written_here() {
    const D: usize = 3;
    const W: usize = 5;
    const F: usize = 4;
    let network = FeedForward::plain(F as u32, Activation::Relu);
    let routing = wattle::model::config::Routing::softmax_topk(false);
    let experts = Experts { router_norm: Some(RMS), ..Experts::new(2, 1, routing, network) };
    for op in [Op::FeedForward(network), Op::Experts(experts)] {
        let is_sparse = matches!(op, Op::Experts(_));
        let layer = SubLayer { width: Some(W as u32), post_norm: Some(RMS), ..SubLayer::new(RMS, op) };
        let config = ModelConfig { hidden_size: D as u32, ..model(vec![Block { sublayers: vec![layer] }]) };
        config.validate().unwrap();
        let values = |slot: Slot, shape: &[usize]| -> Vec<f32> {
            let mut hasher = DefaultHasher::new();
            slot.hash(&mut hasher);
            Random::new(hasher.finish()).gaussian(shape.iter().product())
        };
        let ids = [2, 7, 11, 40];
        let trace = traced(&config, values, &ids);

        let place = Place::sublayer(0, 0);
        let matrix = |place, role, rows, cols| values(Slot::weight(place, role), &[rows, cols]);
        let product = |m: &[f32], x: &[f32]| -> Vec<f32> {
            m.chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
        };
        let normed = |role, x: &[f32]| -> Vec<f32> {
            let mean = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
            let weights = values(Slot::weight(place, role), &[x.len()]);
            x.iter().zip(weights).map(|(x, w)| x / (mean + RMS.eps).sqrt() * w).collect()
        };
        let mut expected = Vec::new();
        for x in trace.hidden[0].chunks(D) {
            let inner = product(&matrix(place, Role::ProjectIn, W, D), &normed(Role::Norm, x));
            let (at, weight) = if is_sparse {
                let router = matrix(place, Role::Router, 2, W);
                let logits = product(&router, &normed(Role::RouterNorm, &inner));
                let best = usize::from(logits[1] > logits[0]);
                (place.expert(best), 1.0 / (1.0 + (logits[1 - best] - logits[best]).exp()))
            } else {
                (place, 1.0)
            };
            let up = product(&matrix(at, Role::Up, F, W), &inner);
            let active: Vec<f32> = up.iter().map(|up| up.max(0.0)).collect();
            let down: Vec<f32> =
                product(&matrix(at, Role::Down, W, F), &active).iter().map(|y| y * weight).collect();
            let out = product(&matrix(place, Role::ProjectOut, D, W), &down);
            expected.extend(x.iter().zip(normed(Role::PostNorm, &out)).map(|(x, y)| x + y));
        }
        assert_close("last block", &trace.last_block, &expected, Tolerance::Mixed(1e-5, 1e-5));
    }
}
