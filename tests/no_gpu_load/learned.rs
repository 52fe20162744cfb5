//! Checkpoints with what OmniQuant has learned: names, layouts and schedules.

use wattle::energy::Phase;
use wattle::gpu::Capabilities;
use wattle::model::forward::{PassOptions, record};
use wattle::model::layout::Layout;
use wattle::model::naming::Naming;
use wattle::model::plan::WeightPlan;
use wattle::model::slot::{Part, Place, Role, Slot};
use wattle::model::{Source, open};
use wattle::schedule::Schedule;
use wattle::tuning::ProductPath;
use wattle::verify::{Case, Device, check};

use crate::support::{assert_says, golden_dir};

#[path = "../support/omniquant.rs"]
mod omniquant;

fn plain(model: &str) -> Source {
    open(golden_dir().join(model)).unwrap()
}

fn with_all(model: &str) -> Source {
    omniquant::source(plain(model), |_| ())
}

fn layout(source: &Source, format: &str) -> Layout {
    source.layout(&WeightPlan::uniform(format.parse().unwrap()), &Capabilities::webgpu()).unwrap()
}

fn schedule(source: &Source, layout: &Layout, phase: Phase) -> Schedule {
    // More rows than experts' products take one by one.
    let options = PassOptions::new(phase, 9, 16);
    record(&source.config, layout, &Capabilities::webgpu(), &options).unwrap()
}

#[test]
fn names_lie_beside_the_weight() {
    let at = Slot::weight(Place::sublayer(2, 1), Role::Up);
    let parts = [(Part::Gamma, "gamma"), (Part::Beta, "beta"), (Part::Delta, "delta"), (Part::Scale, "s")];
    for (part, name) in parts {
        let slot = Slot { part, ..at };
        assert_eq!(Naming::Native.tensor_name(slot), format!("blocks.2.sublayers.1.up.{name}"));
        assert_eq!(plain("llama").naming.tensor_name(slot), format!("model.layers.2.mlp.up_proj.{name}"));
    }
}

#[test]
fn only_codes_are_stored_for_transformed_inputs() {
    for model in ["llama", "mixtral", "gemma2"] {
        let (plain, with_all) = (plain(model), with_all(model));
        assert_eq!(layout(&with_all, "f32"), layout(&plain, "f32"), "{model}");
        assert_eq!(layout(&with_all, "f16"), layout(&plain, "f16"), "{model}");
        let layout = layout(&with_all, "int4");
        for matrix in layout.matrices() {
            // The table is f16, the router f32, and a tied head has no inputs of its own.
            let is_float = ["embedding", "router"].iter().any(|name| matrix.name.ends_with(name));
            let is_tied = matrix.name == "head" && plain.config.head.tied;
            assert_eq!(matrix.transform.is_none(), is_float || is_tied, "{model}, {}", matrix.name);
        }
    }
}

/// What a schedule does that another does not, by step: how many more dispatches.
fn more(found: &Schedule, than: &Schedule) -> Vec<(&'static str, usize)> {
    let count =
        |schedule: &Schedule, what| schedule.steps.iter().filter(|step| step.site.what == what).count();
    let mut names: Vec<_> = found.steps.iter().map(|step| step.site.what).collect();
    names.sort_unstable();
    names.dedup();
    let more = names.into_iter().map(|what| (what, count(found, what) - count(than, what)));
    more.filter(|(_, more)| *more > 0).collect()
}

/// Where a product already norms on the way in, the norm becomes a dispatch and the transformation takes its place.
#[test]
fn transforms_cost_a_dispatch_where_they_cannot_be_fused() {
    // Four layers and a head; in a prompt the head alone norms on the way in.
    let decode = vec![("norm", 9)];
    let prefill = vec![("norm", 1), ("transform", 16)];
    for model in ["llama", "mixtral"] {
        let (plain, with_all) = (plain(model), with_all(model));
        for (phase, expected) in [(Phase::Decode, &decode), (Phase::Prefill, &prefill)] {
            let without = schedule(&plain, &layout(&plain, "int8"), phase);
            let with = schedule(&with_all, &layout(&with_all, "int8"), phase);
            assert_eq!(&more(&with, &without), expected, "{model}, {phase:?}");
            let float = schedule(&with_all, &layout(&with_all, "f16"), phase).to_string();
            assert_eq!(
                float,
                schedule(&plain, &layout(&plain, "f16"), phase).to_string(),
                "{model}, {phase:?}"
            );
        }
    }
}

#[test]
fn the_router_sees_what_is_not_transformed() {
    let source = with_all("mixtral");
    // Of many tokens the choice computes its logits itself.
    for (phase, router) in [(Phase::Decode, "router"), (Phase::Prefill, "route")] {
        let schedule = schedule(&source, &layout(&source, "int8"), phase);
        let input = |what: &str| {
            let step = schedule.steps.iter().find(|step| step.site.what == what).unwrap();
            let (_, id) = step.tensors.iter().find(|(index, _)| *index == 4).unwrap();
            *id
        };
        assert_ne!(input(router), input("expert_up"), "{phase:?}");
    }
}

#[test]
fn tables_are_not_transformed() {
    for (model, table) in [("gemma2", "model.embed_tokens"), ("llama_bias", "model.embed_tokens")] {
        for part in ["delta", "s"] {
            let source = omniquant::source(plain(model), |tensors| {
                let shape = vec![1];
                let name = format!("{table}.{part}");
                tensors.push(omniquant::Tensor { name, shape, values: vec![1.0] });
            });
            let plan = WeightPlan::uniform("int8".parse().unwrap());
            let error = source.layout(&plan, &Capabilities::webgpu()).unwrap_err();
            assert_says(&error, &[&format!("'{table}.weight'"), "delta", "not supported", "tokens"]);
            assert!(
                source.layout(&WeightPlan::uniform("f16".parse().unwrap()), &Capabilities::webgpu()).is_ok()
            );
        }
    }
}

/// What a device would not load the reference does not compute with, either.
#[test]
fn the_reference_refuses_what_a_device_refuses() {
    let int8 = WeightPlan::uniform("int8".parse().unwrap());
    let refused = |tensor: &str, says: &str, change: &dyn Fn(&mut omniquant::Tensor)| {
        let mut case = Case::open(&golden_dir().join("llama")).unwrap();
        case.source = omniquant::source(case.source, |tensors| {
            change(tensors.iter_mut().find(|found| found.name == tensor).unwrap());
        });
        let checked = pollster::block_on(check(&case, &Device::Cpu, &int8, ProductPath::Float));
        assert_says(&checked.unwrap_err(), &[tensor, says]);
    };
    let length = |count: usize| {
        move |tensor: &mut omniquant::Tensor| (tensor.values, tensor.shape) = (vec![1.0; count], vec![count])
    };
    let q = "model.layers.2.self_attn.q_proj";
    for part in ["gamma", "beta", "delta", "s"] {
        for count in [1, 47, 49] {
            refused(&format!("{q}.{part}"), "expected shape [48]", &length(count));
        }
    }
    refused(&format!("{q}.s"), "above 0", &|tensor| tensor.values[3] = 0.0);
}
