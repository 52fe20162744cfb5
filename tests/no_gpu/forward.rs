//! Whole models, with weights read under the names of their checkpoints.

use std::collections::BTreeMap;

use wattle::model::config::ModelConfig;
use wattle::model::plan::WeightPlan;
use wattle::model::slot::{Part, Place, Role, Slot};
use wattle::quant::{PackedMatrix, WeightFormat, Width};
use wattle::reference::forward::{Cache, Trace, forward};
use wattle::reference::sample::argmax;
use wattle::reference::weights::{ExpertsWeights, OpWeights, Weights};
use wattle::tuning::ProductPath;
use wattle::{Error, Result};

use crate::models::config;
use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;

pub const MODELS: &[&str] = &["llama", "llama_bias", "gemma2", "gemma3_text", "mixtral", "mixtral_swa"];

const TOLERANCE: Tolerance = Tolerance::Mixed(5e-4, 1e-4);
const F32: WeightPlan = WeightPlan {
    linear: WeightFormat::F32,
    experts: WeightFormat::F32,
    embedding: WeightFormat::F32,
    block_widths: BTreeMap::new(),
    expert_widths: BTreeMap::new(),
};

/// The name of a slot in the checkpoints of these models.
fn tensor_name(config: &ModelConfig, slot: Slot) -> String {
    let (prefix, second) = match slot.place {
        Place::Encoder => panic!("these models have no encoder"),
        Place::Model => (String::from("model."), false),
        Place::Block(_) | Place::Stream(_) => panic!("none of these models has several streams"),
        Place::SubLayer(at) | Place::SharedExpert(at) => {
            (format!("model.layers.{}.", at.block), at.sublayer == 1)
        }
        Place::Expert(at, expert) => {
            (format!("model.layers.{}.block_sparse_moe.experts.{expert}.", at.block), true)
        }
    };
    let is_expert = matches!(slot.place, Place::Expert { .. });
    let has_post_norms = config.blocks[0].sublayers[0].post_norm.is_some();
    let role = match slot.role {
        Role::Embedding => "embed_tokens",
        Role::Head => return "lm_head.weight".into(),
        Role::FinalNorm => "norm",
        Role::Norm if !second => "input_layernorm",
        Role::Norm if has_post_norms => "pre_feedforward_layernorm",
        Role::PostNorm if second => "post_feedforward_layernorm",
        Role::Norm | Role::PostNorm => "post_attention_layernorm",
        Role::Q => "self_attn.q_proj",
        Role::K => "self_attn.k_proj",
        Role::V => "self_attn.v_proj",
        Role::Out => "self_attn.o_proj",
        Role::QNorm => "self_attn.q_norm",
        Role::KNorm => "self_attn.k_norm",
        Role::Router => "block_sparse_moe.gate",
        Role::Gate if is_expert => "w1",
        Role::Up if is_expert => "w3",
        Role::Down if is_expert => "w2",
        Role::Gate => "mlp.gate_proj",
        Role::Up => "mlp.up_proj",
        Role::Down => "mlp.down_proj",
        other => panic!("none of these models has a {other:?}"),
    };
    let part = if slot.part == Part::Weight { "weight" } else { "bias" };
    format!("{prefix}{role}.{part}")
}

fn weights(model: &str, plan: &WeightPlan) -> (ModelConfig, Weights) {
    let config = config(model);
    let file = Golden::open(&format!("{model}/model"));
    let fetch = |slot, shape: &[usize]| -> Result<Vec<f32>> {
        let name = tensor_name(&config, slot);
        assert_eq!(file.shape(&name), shape, "{model}, {name}");
        Ok(file.floats(&name))
    };
    let weights = Weights::build(&config, plan, ProductPath::Float, fetch).unwrap();
    (config, weights)
}

/// Rows of one sequence in a tensor whose first axes are `[B, T]` or `[B * T]`.
fn of_sequence<T>(all: &[T], sequence: usize, sequences: usize) -> &[T] {
    let len = all.len() / sequences;
    &all[sequence * len..][..len]
}

#[test]
fn prompts_are_golden() {
    for model in MODELS {
        let (config, weights) = weights(model, &F32);
        let golden = Golden::open(&format!("{model}/golden"));
        for prefix in ["", "long_"] {
            let all_ids = golden.indices(&format!("{prefix}input_ids"));
            let sequences = golden.shape(&format!("{prefix}input_ids"))[0];
            for sequence in 0..sequences {
                let ids = of_sequence(&all_ids, sequence, sequences);
                let trace = forward(&config, &weights, &mut Cache::new(&config), ids).unwrap();
                let close = |name: &str, found: &[f32]| {
                    let all = golden.floats(&format!("{prefix}{name}"));
                    let what = format!("{model}, {prefix}{name}, sequence {sequence}");
                    assert_close(&what, found, of_sequence(&all, sequence, sequences), TOLERANCE);
                };
                assert_eq!(trace.hidden.len(), config.blocks.len() + 1, "{model}");
                for (i, hidden) in trace.hidden.iter().enumerate() {
                    close(&format!("hidden_states.{i}"), hidden);
                }
                close("last_layer_output", &trace.last_block);
                close("logits", &trace.logits);
                for (i, route) in trace.routes.iter().enumerate() {
                    close(&format!("router_logits.{i}"), &route.logits);
                    close(&format!("router_topk_weight.{i}"), &route.weights);
                    let experts = golden.indices(&format!("{prefix}router_topk_idx.{i}"));
                    let what = format!("{model}, {prefix}router_topk_idx.{i}, sequence {sequence}");
                    assert_same(&what, &route.experts, of_sequence(&experts, sequence, sequences));
                }
            }
        }
    }
}

#[test]
fn cached_decoding_is_golden() {
    for model in MODELS {
        let (config, weights) = weights(model, &F32);
        let golden = Golden::open(&format!("{model}/golden"));
        for prefix in ["", "long_"] {
            let read = |name: &str| golden.indices(&format!("{prefix}{name}"));
            let (ids, greedy) = (read("input_ids"), read("greedy_ids"));
            let greedy_logits = golden.floats(&format!("{prefix}greedy_logits"));
            let sequences = golden.shape(&format!("{prefix}input_ids"))[0];
            for sequence in 0..sequences {
                let greedy = of_sequence(&greedy, sequence, sequences);
                let prompt = of_sequence(&ids, sequence, sequences);
                let (found, logits) = decode(&config, &weights, prompt, greedy.len());
                let what = format!("{model}, {prefix}prompt {sequence}");
                assert_same(&what, &found, greedy);
                let expected = of_sequence(&greedy_logits, sequence, sequences);
                assert_close(&what, &logits, expected, TOLERANCE);
            }
        }
    }
}

/// The greedy continuation of a prompt, and the logits each token was chosen from.
fn decode(config: &ModelConfig, weights: &Weights, prompt: &[u32], count: usize) -> (Vec<u32>, Vec<f32>) {
    let mut cache = Cache::new(config);
    let (mut ids, mut logits) = (vec![], vec![]);
    let mut step = prompt.to_vec();
    while ids.len() < count {
        let trace = forward(config, weights, &mut cache, &step).unwrap();
        let last = &trace.logits[trace.logits.len() - config.vocab_size as usize..];
        ids.push(argmax(last));
        logits.extend_from_slice(last);
        step = vec![argmax(last)];
    }
    assert_eq!(cache.len() as usize, prompt.len() + count - 1);
    (ids, logits)
}

/// Each token sees the same keys in the same order, so not a bit may differ.
#[test]
fn a_prompt_in_pieces_is_the_same_prompt() {
    let (config, weights) = weights("gemma2", &F32);
    let ids = Golden::open("gemma2/golden").indices("long_input_ids");
    let whole = forward(&config, &weights, &mut Cache::new(&config), &ids).unwrap();
    let mut cache = Cache::new(&config);
    assert!(cache.is_empty());
    let pieces: Vec<Trace> =
        ids.chunks(7).map(|ids| forward(&config, &weights, &mut cache, ids).unwrap()).collect();
    let logits: Vec<f32> = pieces.into_iter().flat_map(|piece| piece.logits).collect();
    assert_same("logits", &logits, &whole.logits);
}

#[test]
fn a_plan_changes_the_values_of_the_matrices_it_names() {
    let int = WeightFormat::int;
    let plan = WeightPlan {
        linear: int(Width::Int8),
        experts: int(Width::Int4),
        embedding: WeightFormat::F16,
        block_widths: BTreeMap::new(),
        expert_widths: BTreeMap::new(),
    };
    let stored = |format, name: &str, file: &Golden| {
        let &[rows, cols] = &file.shape(name)[..] else { panic!("{name} is a matrix") };
        PackedMatrix::pack(format, rows, cols, &file.floats(name)).unwrap().unpack()
    };

    let file = Golden::open("mixtral/model");
    let (_, packed) = weights("mixtral", &plan);
    let layer = "model.layers.1";
    let [attention, moe] = &packed.blocks[1][..] else { panic!("two sub-layers") };
    let OpWeights::Attention(attention) = &attention.op else { panic!("attention first") };
    let OpWeights::Experts(ExpertsWeights { router, experts, .. }) = &moe.op else {
        panic!("experts second")
    };
    assert_eq!(
        attention.k.as_ref().unwrap().weight,
        stored(int(Width::Int8), &format!("{layer}.self_attn.k_proj.weight"), &file)
    );
    let w2 = format!("{layer}.block_sparse_moe.experts.3.w2.weight");
    assert_eq!(experts[3].down.weight, stored(int(Width::Int4), &w2, &file));
    assert_eq!(
        router.as_ref().unwrap().weight,
        file.floats(&format!("{layer}.block_sparse_moe.gate.weight"))
    );
    assert_eq!(
        moe.norm.as_ref().unwrap().weight,
        file.floats(&format!("{layer}.post_attention_layernorm.weight"))
    );
    assert_eq!(packed.head.weight, stored(int(Width::Int8), "lm_head.weight", &file));

    let file = Golden::open("llama_bias/model");
    let (_, packed) = weights("llama_bias", &plan);
    let table = "model.embed_tokens.weight";
    assert_eq!(packed.embedding, stored(WeightFormat::F16, table, &file));
    assert_eq!(packed.head.weight, stored(int(Width::Int8), table, &file), "a tied head is not packed twice");
    let OpWeights::FeedForward(ffn) = &packed.blocks[0][1].op else { panic!("feed-forward second") };
    assert_eq!(ffn.down.bias.as_deref(), Some(&file.floats("model.layers.0.mlp.down_proj.bias")[..]));
}

#[test]
fn bad_requests_are_errors() {
    let (config, weights) = weights("llama_bias", &F32);
    let mut cache = Cache::new(&config);
    for ids in [vec![], vec![config.vocab_size], vec![0; config.context_length as usize + 1]] {
        let result = forward(&config, &weights, &mut cache, &ids);
        assert!(matches!(result, Err(Error::Request(_))), "{} ids", ids.len());
    }
    assert!(cache.is_empty(), "a refused request leaves no trace");
    let lacking = |slot: Slot, _: &[usize]| Err(Error::MissingTensor { name: format!("{:?}", slot.role) });
    let error = Weights::build(&config, &F32, ProductPath::Float, lacking).unwrap_err();
    assert_eq!(error.to_string(), "tensor 'Embedding' is missing");
}
