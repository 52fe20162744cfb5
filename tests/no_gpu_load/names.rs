//! Where the tensors of decoders without experts lie, and which of their rows are whose.

use serde_json::{Value, json};
use wattle::model::Source;
use wattle::model::checkpoint::Checkpoint;
use wattle::model::config::Op;
use wattle::model::slot::{Part, Place, Role, Slot, slots};

use crate::decoders::{parse, with};
use crate::support::{f32_bytes, safetensors};

/// With the body's prefix and without, as a body alone is saved; the head has none.
#[test]
fn names_outside_of_layers() {
    for (model_type, body, names) in [
        ("phi", "model.", ["embed_tokens", "final_layernorm", "lm_head"]),
        ("gptj", "transformer.", ["wte", "ln_f", "lm_head"]),
        ("gpt_neox", "gpt_neox.", ["embed_in", "final_layer_norm", "embed_out"]),
        ("cohere", "model.", ["embed_tokens", "norm", "lm_head"]),
        ("falcon", "transformer.", ["word_embeddings", "ln_f", "lm_head"]),
        ("gpt_bigcode", "transformer.", ["wte", "ln_f", "lm_head"]),
    ] {
        let (_, naming) = parse(&json!({"model_type": model_type}));
        for prefix in [body, ""] {
            let norm = format!("{prefix}{}.weight", names[1]);
            let naming = naming.detect_prefix(|name| name == norm);
            let found = [Role::Embedding, Role::FinalNorm, Role::Head]
                .map(|role| naming.tensor_name(Slot::weight(Place::Model, role)));
            let before = [prefix, prefix, ""];
            let expected = before.iter().zip(names).map(|(at, name)| format!("{at}{name}.weight"));
            assert_eq!(found.to_vec(), expected.collect::<Vec<_>>(), "{model_type}");
        }
    }
    let (_, naming) = parse(&json!({"model_type": "gpt_bigcode"}));
    assert_eq!(naming.tensor_name(Slot::weight(Place::Model, Role::Positions)), "transformer.wpe.weight");
}

#[test]
fn names_within_layers() {
    for (model_type, names) in [
        ("phi", ["self_attn.q_proj", "self_attn.dense", "mlp.fc1", "mlp.fc2"]),
        ("gptj", ["attn.q_proj", "attn.out_proj", "mlp.fc_in", "mlp.fc_out"]),
        (
            "gpt_neox",
            ["attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
        ),
        (
            "falcon",
            [
                "self_attention.query_key_value",
                "self_attention.dense",
                "mlp.dense_h_to_4h",
                "mlp.dense_4h_to_h",
            ],
        ),
        ("gpt_bigcode", ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]),
        ("cohere", ["self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"]),
    ] {
        let (config, naming) = parse(&json!({"model_type": model_type}));
        for (role, expected) in [Role::Q, Role::Out, Role::Up, Role::Down].into_iter().zip(names) {
            let (slot, _) = slots(&config).find(|(slot, _)| slot.role == role).unwrap();
            let name = naming.tensor_name(slot);
            assert!(name.ends_with(&format!(".0.{expected}.weight")), "{model_type}: {name}");
        }
    }
}

/// What is learned of Q, K and V is learned of each, wherever the weights are.
#[test]
fn learned_parts_lie_beside_weights_of_their_own() {
    let (config, naming) = parse(&json!({"model_type": "falcon"}));
    let (slot, _) = slots(&config).find(|(slot, _)| slot.role == Role::K).unwrap();
    let name = naming.tensor_name(Slot { part: Part::Gamma, ..slot });
    assert_eq!(name, "transformer.h.0.self_attention.k_proj.gamma");
}

/// A model with these tensors, each with the numbers that `numbers` gives it by its shape.
fn open(
    config: &Value,
    tensors: Vec<(String, Vec<usize>)>,
    numbers: impl Fn(&[usize]) -> Vec<f32>,
) -> Source {
    let bytes = |shape: &[usize]| f32_bytes(&numbers(shape));
    let tensors: Vec<_> =
        tensors.iter().map(|(name, shape)| (name.as_str(), "F32", shape.as_slice(), bytes(shape))).collect();
    let files = vec![("model.safetensors".to_owned(), safetensors(&tensors))];
    let ((config, naming), checkpoint) = (parse(config), Checkpoint::from_bytes(files).unwrap());
    checkpoint.check(&config, naming).unwrap();
    Source { config, naming, checkpoint }
}

/// A model whose every tensor has the numbers of its rows.
fn open_numbered(config: &Value) -> Source {
    let (parsed, naming) = parse(config);
    let fused = parsed.ops().find_map(|(_, op)| match op {
        Op::Attention(attention) => Some(attention.qkv_rows() as usize),
        _ => None,
    });
    let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
    for (slot, mut shape) in slots(&parsed) {
        let name = naming.tensor_name(slot);
        if [Role::Q, Role::K, Role::V].contains(&slot.role) {
            shape[0] = fused.unwrap();
        }
        if !tensors.iter().any(|(known, _)| *known == name) {
            tensors.push((name, shape));
        }
    }
    open(config, tensors, |shape| {
        let cols: usize = shape[1..].iter().product();
        (0..shape[0]).flat_map(|row| vec![row as f32; cols]).collect()
    })
}

/// The rows of Q, K and V in one tensor, of weights and of biases: four heads of two elements.
#[test]
fn rows_of_fused_projections() {
    let falcon = json!({
        "model_type": "falcon", "vocab_size": 5, "hidden_size": 8, "num_attention_heads": 4, "num_hidden_layers": 1,
        "bias": true,
    });
    let bigcode = json!({"model_type": "gpt_bigcode", "vocab_size": 5, "n_embd": 8, "n_head": 4, "n_layer": 1, "n_positions": 3});
    let neox = json!({
        "model_type": "gpt_neox", "vocab_size": 5, "hidden_size": 8, "num_attention_heads": 4,
        "num_hidden_layers": 1, "intermediate_size": 4, "rotary_pct": 1.0,
    });
    let each =
        ([0, 1, 6, 7, 12, 13, 18, 19], vec![2, 3, 8, 9, 14, 15, 20, 21], vec![4, 5, 10, 11, 16, 17, 22, 23]);
    let one = ([0, 1, 2, 3, 4, 5, 6, 7], vec![8, 9], vec![10, 11]);
    let two = ([0, 1, 2, 3, 8, 9, 10, 11], vec![4, 5, 12, 13], vec![6, 7, 14, 15]);
    for (config, (q, k, v)) in [
        (falcon.clone(), one.clone()),
        (with(&falcon, json!({"multi_query": false})), each.clone()),
        (with(&falcon, json!({"new_decoder_architecture": true, "num_kv_heads": 2})), two),
        (bigcode.clone(), one),
        (with(&bigcode, json!({"multi_query": false})), each.clone()),
        (neox, each),
    ] {
        let source = open_numbered(&config);
        let found = |role| {
            let of = |part| {
                let mut slots = slots(&source.config);
                let (slot, shape) = slots.find(|(slot, _)| (slot.role, slot.part) == (role, part)).unwrap();
                source.fetch(slot, &shape).unwrap()
            };
            let weight: Vec<f32> = of(Part::Weight);
            let rows: Vec<u32> = weight.chunks(8).map(|row| row[0] as u32).collect();
            assert!(weight.chunks(8).all(|row| row.iter().all(|x| *x == row[0])), "{config}: {role:?}");
            let biases: Vec<u32> = of(Part::Bias).iter().map(|x| *x as u32).collect();
            assert_eq!(biases, rows, "{config}: {role:?}");
            rows
        };
        assert_eq!((found(Role::Q), found(Role::K), found(Role::V)), (q.to_vec(), k, v), "{config}");
    }
}

/// Norms of each head are stored by head.
#[test]
fn norms_of_each_head_are_a_matrix_in_the_file() {
    let config = json!({
        "model_type": "cohere", "vocab_size": 5, "hidden_size": 8, "num_attention_heads": 4, "num_key_value_heads": 2,
        "num_hidden_layers": 1, "intermediate_size": 4, "use_qk_norm": true,
    });
    let (parsed, naming) = parse(&config);
    let stored = |(slot, shape): (Slot, Vec<usize>)| {
        let shape = match slot.role {
            Role::QNorm => vec![4, 2],
            Role::KNorm => vec![2, 2],
            _ => shape,
        };
        (naming.tensor_name(slot), shape)
    };
    let source = open(&config, slots(&parsed).map(stored).collect(), |shape| {
        (0..shape.iter().product()).map(|n: usize| n as f32).collect()
    });
    let norm = Slot::weight(Place::sublayer(0, 0).branch(0), Role::KNorm);
    assert_eq!(source.fetch(norm, &[4]).unwrap(), [0.0, 1.0, 2.0, 3.0]);
}
