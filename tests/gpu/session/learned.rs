//! Weights quantized with what OmniQuant has learned of them: clipped, and for transformed inputs.

use wattle::model::plan::{PlanName, WeightPlan};
use wattle::model::{LoadOptions, Model, Source};
use wattle::tuning::ProductPath;
use wattle::verify::{Case, Device, Report, check};
use wattle::{Error, Gpu, Result};

use super::harness::{F32, assert_same_state, feed, greedy, session, source, submit, tokens};
use super::sharding::{narrow, run as state_after_run};
use crate::harness::{block_on, gpu};
use crate::support::compare::assert_same;
use crate::support::golden::directory;

#[path = "../../support/omniquant.rs"]
pub mod omniquant;

fn plan(text: &str, source: &Source) -> WeightPlan {
    text.parse::<PlanName>().unwrap().plan(&source.config).unwrap()
}

fn load(source: &Source, text: &str) -> Result<Model> {
    block_on(Model::load(gpu(), source, LoadOptions::new(plan(text, source))))
}

fn report(case: &Case, plan: &WeightPlan, baseline: bool) -> Report {
    on_path(case, plan, ProductPath::Float, baseline)
}

fn on_path(case: &Case, plan: &WeightPlan, path: ProductPath, baseline: bool) -> Report {
    block_on(check(case, &Device::Gpu(gpu().with_baseline(baseline)), plan, path)).unwrap()
}

/// With biases and without, tied and not, norms before and after, experts.
#[test]
fn models_agree_with_the_reference() {
    for (n, model) in ["llama", "llama_bias", "gemma2", "mixtral", "mixtral_swa"].into_iter().enumerate() {
        let mut case = Case::open(&directory().join(model)).unwrap();
        case.source = omniquant::source(case.source, |_| ());
        // Two formats each, by turns. Inputs are transformed before they become codes.
        for (m, path) in [ProductPath::Float, ProductPath::Integer].into_iter().enumerate() {
            let text = ["int8", "int4:planes", "int2:f16"][(n + m) % 3];
            let formats = WeightPlan::uniform(text.parse().unwrap());
            // The table too is clipped.
            let plan = WeightPlan { embedding: formats.linear, ..formats };
            let report = on_path(&case, &plan, path, (n + m) % 2 == 0);
            assert!(report.passed(), "{model} in {text}, {path}: {report}");
        }
        // To floats it is nothing: outputs are those of the weights as they are.
        if n % 3 == 0 {
            let report = on_path(&case, &F32, ProductPath::Float, n % 2 == 0);
            assert!(report.passed(), "{model} in f32: {report}");
        }
    }
}

/// Experts of different widths, stored apart or together, have one transformation.
#[test]
fn experts_of_any_width_are_transformed() {
    let mut case = Case::open(&directory().join("mixtral_swa")).unwrap();
    case.source = omniquant::source(case.source, |_| ());
    for (n, linear) in ["int8", "int8:planes"].into_iter().enumerate() {
        let widths = r#""expert_widths": {"1": {"0": 4, "2": 6}}"#;
        let text = format!(r#"{{"schema": 1, "linear": "{linear}", {widths}}}"#);
        let plan = WeightPlan::from_json("plan", &text).unwrap();
        for path in [ProductPath::Float, ProductPath::Integer] {
            let report = on_path(&case, &plan, path, n == 0);
            assert!(report.passed(), "{linear}, {path}: {report}");
        }
    }
    // Slices of a loaded parent read its transformation.
    let source = omniquant::source(source("mixtral_swa"), |_| ());
    let widths = r#"{"schema": 1, "linear": "int8", "expert_widths": {"1": {"0": 4, "2": 6}}}"#;
    let plan = WeightPlan::from_json("plan", widths).unwrap();
    let direct = block_on(Model::load(gpu(), &source, LoadOptions::new(plan.clone()))).unwrap();
    let sliced = block_on(load(&source, "int8").unwrap().sliced(&plan)).unwrap();
    assert_eq!(state_after_run(&sliced), state_after_run(&direct));
}

/// Scales and shifts are undone: 8 bits, not clipped, are as close to the golden outputs as without.
#[test]
fn transforms_change_no_model() {
    for model in ["llama_bias", "mixtral_swa"] {
        let mut case = Case::open(&directory().join(model)).unwrap();
        let int8 = WeightPlan::uniform("int8".parse().unwrap());
        let without = report(&case, &int8, false).relative_rms;
        case.source = omniquant::source(case.source, |tensors| {
            tensors.retain(|tensor| !tensor.name.ends_with(".gamma") && !tensor.name.ends_with(".beta"));
        });
        let report = report(&case, &int8, false);
        // Scales from 1/2 to 2 make weights, and so their steps, and inputs up to twice as large; shifts of up to 1/2
        // make inputs of order 1 half as large again.
        let bound = 2.0 * 2.0 * 1.5 * without;
        assert!(report.passed() && report.relative_rms < bound, "{model}: {report}, {without} without");
    }
}

#[test]
fn widths_are_switched_and_sliced_as_ever() {
    let source = omniquant::source(source("mixtral"), |_| ());
    let run = |model: &Model| {
        let mut session = session(model, greedy(16));
        let ids = tokens(model, 9);
        feed(&mut session, &ids);
        submit(gpu(), |encoder| (0..5).try_for_each(|_| session.decode(encoder)));
        session
    };
    let loaded = |text: &str| load(&source, text).unwrap();
    let (planes, parent) = (loaded("int8:planes"), loaded("int8"));
    for width in ["int4", "int2"] {
        let of_planes = format!("{width}:planes");
        let expected = run(&loaded(&of_planes));
        let served = planes.served_at(&plan(&of_planes, &source)).unwrap();
        assert_eq!(served.layout(), loaded(&of_planes).layout());
        assert_same_state(&of_planes, &run(&served), &expected);
        let sliced = block_on(parent.sliced(&plan(width, &source))).unwrap();
        assert_eq!(sliced.layout(), loaded(width).layout());
        assert_same_state(width, &run(&sliced), &run(&loaded(width)));
    }
}

#[test]
fn shards_have_one_transformation() {
    let source = omniquant::source(source("llama_bias"), |_| ());
    let int8 = plan("int8", &source);
    let on = |gpu: &Gpu| block_on(Model::load(gpu, &source, LoadOptions::new(int8.clone()))).unwrap();
    let (whole, split) = (on(gpu()), on(&narrow(4200)));
    assert!(split.layout().matrices().any(|m| m.transform.is_some() && m.shards.len() > 1));
    for ((name, found), (_, expected)) in state_after_run(&split).iter().zip(&state_after_run(&whole)) {
        assert_same(name, found, expected);
    }
}

/// What is wrong with a checkpoint is said with the name of the tensor.
#[test]
fn what_does_not_fit_is_refused_by_name() {
    let refused = |model: &str, tensor: &str, says: &str, change: &dyn Fn(&mut omniquant::Tensor)| {
        let source = omniquant::source(source(model), |tensors| {
            change(tensors.iter_mut().find(|found| found.name == tensor).unwrap());
        });
        let error = load(&source, "int8").err().unwrap_or_else(|| panic!("{tensor} was accepted"));
        let text = error.to_string();
        assert!(text.contains(&format!("'{tensor}'")) && text.contains(says), "{tensor}: {text}");
        assert!(load(&source, "f16").is_ok(), "{tensor} is nothing to floats");
    };
    let shorter = |tensor: &mut omniquant::Tensor| {
        tensor.values.pop();
        tensor.shape = vec![tensor.values.len()];
    };
    let set = |value: f32| move |tensor: &mut omniquant::Tensor| tensor.values[3] = value;
    let q = "model.layers.2.self_attn.q_proj";
    for part in ["gamma", "beta", "delta", "s"] {
        refused("llama", &format!("{q}.{part}"), "expected shape [48]", &shorter);
        refused("llama", &format!("{q}.{part}"), "holds NaN at element 3", &set(f32::NAN));
    }
    refused("llama", &format!("{q}.s"), "above 0", &set(0.0));
    refused("llama", &format!("{q}.s"), "above 0", &set(-1.0));
    refused("llama", &format!("{q}.s"), "above 0", &set(1e-39));

    // Matrices of one input have one transformation, and so have the experts of a layer.
    for (model, tensor) in [
        ("llama", "model.layers.2.self_attn.v_proj.delta"),
        ("llama", "model.layers.0.mlp.up_proj.s"),
        ("mixtral", "model.layers.0.block_sparse_moe.experts.5.w3.s"),
        ("mixtral", "model.layers.0.block_sparse_moe.experts.5.w2.delta"),
    ] {
        refused(model, tensor, "share one transformation", &set(0.25));
    }
    let source_without = omniquant::source(source("llama"), |tensors| {
        tensors.retain(|tensor| tensor.name != "model.layers.2.self_attn.v_proj.delta");
    });
    let error = load(&source_without, "int8").err().unwrap();
    assert!(error.to_string().contains("'model.layers.2.self_attn.v_proj.delta'"), "{error}");
    // What is left of a range is of the row that it is learned for: here one of K, in the middle of a fused matrix.
    let source = omniquant::source(source("llama"), |tensors| {
        let name = "model.layers.1.self_attn.k_proj.gamma";
        tensors.iter_mut().find(|found| found.name == name).unwrap().values.fill(-2.0);
    });
    let error = load(&source, "int4").err().unwrap();
    assert!(matches!(error, Error::TensorMismatch { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("'model.layers.1.self_attn.k_proj.weight'") && text.contains("gamma"), "{text}");
}
