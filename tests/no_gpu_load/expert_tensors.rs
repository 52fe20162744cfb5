//! Checkpoints whose experts do not fit their description: refused when they are opened, by the name of what does not.

use serde_json::json;
use wattle::Error;
use wattle::model::checkpoint::Checkpoint;
use wattle::model::config::{ModelConfig, Op, Routing};
use wattle::model::naming::Naming;
use wattle::model::slot::{Part, Place, Role, Slot, slots};
use wattle::model::{self, Source, family};

use crate::support::{TempDir, assert_says, f32_bytes, safetensors};

const EXPERTS: usize = 3;
const CHOICES: usize = 2;

/// Mixtral of one layer, by its own description.
fn description() -> String {
    json!({
        "model_type": "mixtral", "vocab_size": 5, "hidden_size": 4, "intermediate_size": 6,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 2,
        "num_local_experts": EXPERTS, "num_experts_per_tok": CHOICES,
    })
    .to_string()
}

/// Opens a description with tensors in the shapes that `change` makes of those it needs; without those it makes none of.
fn open(
    name: &str,
    description: &str,
    change: impl Fn(Slot, Vec<usize>) -> Option<Vec<usize>>,
) -> Result<Source, Error> {
    let (config, naming) = family::parse(description).unwrap();
    let tensors: Vec<_> = slots(&config)
        .filter_map(|(slot, shape)| Some((naming.tensor_name(slot), change(slot, shape)?)))
        .map(|(name, shape)| (name, f32_bytes(&vec![1.0; shape.iter().product()]), shape))
        .collect();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, bytes, shape)| (name.as_str(), "F32", shape.as_slice(), bytes.clone()))
        .collect();
    let file = safetensors(&tensors);
    let dir = TempDir::new(name, &[("config.json", description.as_bytes()), ("model.safetensors", &file)]);
    model::open(dir.path())
}

#[track_caller]
fn assert_mismatch(found: Result<Source, Error>, name: &str, expected: &[usize], short: &[usize]) {
    let error = found.map(|_| ()).unwrap_err();
    let text = format!("tensor '{name}': expected shape {expected:?}, found {short:?}");
    assert!(matches!(error, Error::TensorMismatch { .. }), "{error:?}");
    assert_eq!(error.to_string(), text);
}

/// Each matrix of the first expert and of the last, one row short, the others whole.
#[test]
fn an_expert_of_another_shape_than_the_others() {
    open("whole_experts", &description(), |_, shape| Some(shape)).unwrap();
    for expert in [0, EXPERTS - 1] {
        for (role, called, whole, short) in [
            (Role::Gate, "w1", [6, 4], [5, 4]),
            (Role::Down, "w2", [4, 6], [3, 6]),
            (Role::Up, "w3", [6, 4], [5, 4]),
        ] {
            let found = open("short_expert", &description(), |slot, shape| {
                let is_it = slot.role == role && matches!(slot.place, Place::Expert(_, n) if n == expert);
                Some(if is_it { short.to_vec() } else { shape })
            });
            let name = format!("model.layers.0.block_sparse_moe.experts.{expert}.{called}.weight");
            assert_mismatch(found, &name, &whole, &short);
        }
    }
}

/// As many experts as there are, but a router for one less.
#[test]
fn a_router_of_fewer_experts() {
    let found = open("short_router", &description(), |slot, shape| {
        Some(if slot.role == Role::Router { vec![EXPERTS - 1, 4] } else { shape })
    });
    assert_mismatch(found, "model.layers.0.block_sparse_moe.gate.weight", &[EXPERTS, 4], &[EXPERTS - 1, 4]);
}

/// The same model, its experts chosen by the token itself.
fn hashed() -> (ModelConfig, String) {
    let (mut config, _) = family::parse(&description()).unwrap();
    for sublayer in config.blocks.iter_mut().flat_map(|block| &mut block.sublayers) {
        if let Op::Experts(experts) = &mut sublayer.op {
            experts.routing = Routing::Hash;
        }
    }
    let json = serde_json::to_string(&config).unwrap();
    (config, json)
}

#[test]
fn a_hash_without_a_table_of_every_token() {
    let (config, json) = hashed();
    let is_table = |slot: Slot| slot.role == Role::ExpertTable && slot.part == Part::Weight;
    let table = slots(&config).find(|(slot, _)| is_table(*slot)).unwrap();
    let name = Naming::Native.tensor_name(table.0);
    let missing = open("no_table", &json, |slot, shape| (!is_table(slot)).then_some(shape));
    let error = missing.map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::MissingTensor { name: missing } if *missing == name), "{error:?}");
    let found = open("short_table", &json, |slot, shape| {
        Some(if is_table(slot) { vec![shape[0] - 1, shape[1]] } else { shape })
    });
    assert_mismatch(found, &name, &[5, CHOICES], &[4, CHOICES]);
}

/// Seen when the table is read, of which every row is this.
#[test]
fn a_hash_to_experts_that_are_not_there() {
    let (config, json) = hashed();
    let (slot, shape) = slots(&config).find(|(slot, _)| slot.role == Role::ExpertTable).unwrap();
    let naming = Naming::Native;
    for (row, words) in [
        ([0.0, 3.0], "expected whole numbers below the 3 experts, found 3"),
        ([0.5, 1.0], "expected whole numbers below the 3 experts, found 0.5"),
        ([-1.0, 1.0], "expected whole numbers below the 3 experts, found -1"),
        ([1.0, 1.0], "expected an expert once in a row, found [1.0, 1.0]"),
    ] {
        let table = f32_bytes(&row.repeat(shape[0]));
        let file = safetensors(&[(&naming.tensor_name(slot), "F32", &shape, table)]);
        let checkpoint = Checkpoint::from_bytes(vec![("model.safetensors".to_owned(), file)]).unwrap();
        let (config, _) = family::parse(&json).unwrap();
        let error = Source { config, naming, checkpoint }.fetch(slot, &shape).unwrap_err();
        assert!(matches!(error, Error::TensorMismatch { .. }), "{error:?}");
        assert_says(&error, &[&naming.tensor_name(slot), words]);
    }
}
