//! Checks of models: what must not pass does not, and what nobody can decide does.

use std::fs;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::BTreeMap;

use wattle::Result;
use wattle::model::plan::WeightPlan;
use wattle::quant::WeightFormat;
use wattle::reference::forward::{Cache, forward, forward_with_experts};
use wattle::reference::moe::Chosen;
use wattle::reference::weights::Weights;
use wattle::tuning::ProductPath;
use wattle::verify::{Case, Device, Report, check};

use crate::models::MODELS;
use crate::support::{TempDir, assert_says, golden_dir};

#[path = "../support/near_tie.rs"]
mod near_tie;

const F32: WeightPlan = WeightPlan {
    linear: WeightFormat::F32,
    experts: WeightFormat::F32,
    embedding: WeightFormat::F32,
    block_widths: BTreeMap::new(),
    expert_widths: BTreeMap::new(),
};

struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The CPU reference on every family, prompts whole, in chunks and continued.
#[test]
fn the_reference_is_golden() {
    for model in MODELS {
        let case = Case::open(&golden_dir().join(model)).unwrap();
        let report = pollster::block_on(check(&case, &Device::Cpu, &F32, ProductPath::Float)).unwrap();
        assert!(report.passed(), "{model}: {report}");
    }
}

/// The golden outputs of a model.
fn golden(model: &str) -> Vec<Tensor> {
    let bytes = fs::read(golden_dir().join(model).join("golden.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, view)| Tensor {
        name,
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    });
    tensors.collect()
}

/// Opens a model with other golden outputs.
fn open(test: &str, model: &str, golden: &[Tensor]) -> Result<Case> {
    let views = golden.iter().map(|tensor| {
        (&tensor.name, TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).unwrap())
    });
    let golden = safetensors::serialize(views, None).unwrap();
    let read = |file: &str| fs::read(golden_dir().join(model).join(file)).unwrap();
    let (config, weights) = (read("config.json"), read("model.safetensors"));
    let files: [(&str, &[u8]); 3] =
        [("config.json", &config), ("model.safetensors", &weights), ("golden.safetensors", &golden)];
    Case::open(TempDir::new(test, &files).path())
}

fn find<'a>(golden: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    golden.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

fn on_cpu(case: &Case, plan: &WeightPlan) -> Report {
    pollster::block_on(check(case, &Device::Cpu, plan, ProductPath::Float)).unwrap()
}

/// The report on a model after a change to one golden tensor.
fn changed(test: &str, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Report {
    let mut golden = golden("mixtral_swa");
    change(&mut find(&mut golden, name).bytes);
    on_cpu(&open(test, "mixtral_swa", &golden).unwrap(), &F32)
}

#[test]
fn ids_that_fit_no_token_are_refused() {
    for (test, value) in [("id_too_large", (1_i64 << 32) + 3), ("id_negative", -1)] {
        let mut golden = golden("llama");
        find(&mut golden, "input_ids").bytes[..8].copy_from_slice(&value.to_le_bytes());
        assert_says(&open(test, "llama", &golden).unwrap_err(), &["'input_ids'", &value.to_string()]);
    }
}

/// Every tensor without the last element of its last axis. Of ids, which say how many there should be of the rest, it
/// is the rest that does not fit.
#[test]
fn shapes_are_those_of_the_model() {
    for n in 0..golden("mixtral_swa").len() {
        let mut golden = golden("mixtral_swa");
        let tensor = &mut golden[n];
        let expected = format!("{:?}", tensor.shape);
        let last = tensor.shape.pop().unwrap();
        let rows: usize = tensor.shape.iter().product();
        let element = tensor.bytes.len() / (rows * last);
        tensor.shape.push(last - 1);
        let kept = tensor.bytes.chunks(last * element).flat_map(|row| &row[..(last - 1) * element]);
        tensor.bytes = kept.copied().collect();
        let (name, found) = (tensor.name.clone(), format!("{:?}", tensor.shape));
        let error = open("shapes", "mixtral_swa", &golden).unwrap_err();
        match name.strip_suffix("_ids") {
            Some("greedy" | "long_greedy") => assert_says(&error, &["greedy_logits", "expected", "found"]),
            Some(_) => assert_says(&error, &["logits'", "expected", "found"]),
            None => assert_says(&error, &[&format!("'{name}'"), &expected, &found]),
        }
    }
}

#[test]
fn layers_are_those_of_the_model() {
    for (name, other) in [("hidden_states.3", "hidden_states.4"), ("router_topk_idx.2", "router_topk_idx.3")]
    {
        let mut golden = golden("mixtral_swa");
        find(&mut golden, name).name = other.into();
        assert_says(&open("renamed", "mixtral_swa", &golden).unwrap_err(), &[other, "the model has 3"]);
        golden.retain(|tensor| tensor.name != other);
        assert_says(&open("lacking", "mixtral_swa", &golden).unwrap_err(), &[name]);
    }
}

#[test]
fn what_the_file_lacks_is_said() {
    let mut golden = golden("mixtral_swa");
    golden.retain(|tensor| !tensor.name.contains("router"));
    let report = on_cpu(&open("no_routers", "mixtral_swa", &golden).unwrap(), &F32);
    assert!(report.passed() && report.to_string().contains("| routes: not in the file |"), "{report}");

    golden.retain(|tensor| !tensor.name.contains("hidden") && !tensor.name.contains("last_layer"));
    let report = on_cpu(&open("no_hidden", "mixtral_swa", &golden).unwrap(), &F32);
    assert!(report.passed() && report.to_string().contains("| hidden not in the file |"), "{report}");
}

#[test]
fn another_expert_is_no_tie() {
    let report = changed("other_expert", "router_topk_idx.1", |idx| {
        let chosen = [idx[0], idx[8]];
        idx[0] = (0..4).find(|expert| !chosen.contains(expert)).unwrap();
    });
    assert!(!report.passed() && report.routes.is_some_and(|routes| routes.differ > 0), "{report}");
}

#[test]
fn other_outputs_of_generated_tokens_do_not_pass() {
    let report = changed("greedy_logits", "long_greedy_logits", |logits| {
        let last = logits.last_chunk_mut::<4>().unwrap();
        *last = (f32::from_le_bytes(*last) + 1.0).to_le_bytes();
    });
    assert!(!report.passed() && !report.logits.within() && report.rerouted == 0, "{report}");

    let report = changed("greedy_ids", "greedy_ids", |ids| {
        let last = ids.len() - 8;
        ids[last] ^= 1;
    });
    assert!(!report.passed() && report.tokens.differ == 1, "{report}");
}

#[test]
fn infinity_is_not_close() {
    let report = changed("infinity", "logits", |logits| {
        *logits.first_chunk_mut().unwrap() = f32::INFINITY.to_le_bytes();
    });
    assert!(!report.passed() && !report.logits.within(), "{report}");
}

#[test]
fn a_near_tie_of_experts_is_followed() {
    for case in [near_tie::case, near_tie::case_of_groups, near_tie::case_of_mixers] {
        let report = on_cpu(&case(&golden_dir(), 1e-5, false), &F32);
        assert!(report.passed(), "{report}");
        assert!(report.routes.is_some_and(|routes| routes.near_ties > 0) && report.rerouted > 0, "{report}");
        assert!(report.to_string().contains("near ties, "), "{report}");
    }
}

#[test]
fn a_clear_lead_is_no_near_tie() {
    let cases = [
        (near_tie::case as fn(&_, _, _) -> _, 1e-1),
        (near_tie::case_of_groups, 1e-1),
        (near_tie::case_of_mixers, 1e-2),
    ];
    for (case, lead) in cases {
        let report = on_cpu(&case(&golden_dir(), lead, false), &F32);
        assert!(!report.passed() && report.routes.is_some_and(|routes| routes.differ > 0), "{report}");
    }
}

#[test]
fn given_experts_replace_the_choice() {
    let case = Case::open(&golden_dir().join("mixtral_swa")).unwrap();
    let (config, ids) = (&case.source.config, &case.prompts[0].ids);
    let weights =
        Weights::build(config, &F32, ProductPath::Float, |slot, shape| case.source.fetch(slot, shape))
            .unwrap();
    let follow = |experts: &[Vec<u32>]| {
        let experts: Vec<_> = experts.iter().map(|experts| Chosen::from(experts.as_slice())).collect();
        forward_with_experts(config, &weights, &mut Cache::new(config), ids, &experts)
    };
    let free = forward(config, &weights, &mut Cache::new(config), ids).unwrap();
    let mut experts: Vec<_> = free.routes.iter().map(|route| route.experts.clone()).collect();
    assert_eq!(follow(&experts).unwrap(), free);

    // The first token's first expert in the second layer: what was before stays, what comes after does not.
    experts[1][0] = (0..4).find(|expert| !experts[1][..2].contains(expert)).unwrap();
    let given = follow(&experts).unwrap();
    assert_eq!(given.routes[..2], free.routes[..2]);
    assert_eq!(given.hidden[..2], free.hidden[..2]);
    assert_ne!(given.hidden[2], free.hidden[2]);

    experts[1][0] = 4;
    assert_says(&follow(&experts).unwrap_err(), &["a choice of experts"]);
    experts[1].pop();
    assert_says(&follow(&experts).unwrap_err(), &["a choice of experts"]);
    assert_says(&follow(&experts[..1]).unwrap_err(), &["a choice of experts"]);
}

#[test]
fn a_path_that_ran_nothing_fails() {
    let mut report = Report { dispatches: vec![("matvec", 3), ("norm", 1)], ..Report::default() };
    report.require_path(ProductPath::Float, &["matmul", "matvec"]);
    assert!(report.passed(), "{report}");
    report.require_path(ProductPath::Integer, &["quantize"]);
    assert!(!report.passed(), "{report}");
    let line = report.to_string();
    assert!(line.contains("FAILED: path integer") && !line.contains("passed"), "{line}");
}
