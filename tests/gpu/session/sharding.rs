//! Weights split over bindings compute what whole ones do.

use wattle::model::Model;
use wattle::model::plan::WeightPlan;
use wattle::wgpu::Limits;
use wattle::{Error, Gpu};

use super::harness::{F32, feed, greedy, load, session, state, submit, tokens};
use super::stranger::Stranger;
use crate::harness::{block_on, gpu};

/// A device whose bindings hold so many bytes.
pub fn narrow(max_storage_buffer_binding_size: u64) -> Gpu {
    let limits = Limits { max_storage_buffer_binding_size, ..Limits::default() };
    Stranger::open(gpu().device().features(), limits).gpu()
}

/// State after a prompt in two chunks and a few steps.
pub fn run(model: &Model) -> Vec<(String, Vec<u32>)> {
    let mut session = session(model, wattle::model::SessionOptions { max_chunk: 6, ..greedy(16) });
    feed(&mut session, &tokens(model, 9));
    submit(model.gpu(), |encoder| (0..5).try_for_each(|_| session.decode(encoder)));
    state(&session)
}

#[test]
fn split_weights_give_the_same_bits() {
    let int8 = WeightPlan::uniform("int8".parse().unwrap());
    // An expert of mixtral takes 15 360 bytes, or 3840 of codes and 1280 of scales.
    let limits = ["llama", "llama_bias", "gemma2", "gpt_bigcode"].map(|name| (name, [5000, 4200]));
    for (name, limits) in limits.into_iter().chain([("mixtral", [47_000, 12_000])]) {
        for (plan, limit) in [F32, int8.clone()].into_iter().zip(limits) {
            for baseline in [false, true] {
                let whole = load(&gpu().with_baseline(baseline), name, &plan).unwrap();
                let split = load(&narrow(limit).with_baseline(baseline), name, &plan).unwrap();
                let shards = |model: &Model| model.layout().matrices().map(|m| m.shards.len()).max();
                assert_eq!(shards(&whole), Some(1));
                assert!(shards(&split) > Some(1), "{name}: nothing was split");
                let what = format!("{name} in {}, baseline {baseline}", plan.linear);
                for ((tensor, found), (_, expected)) in run(&split).iter().zip(&run(&whole)) {
                    crate::support::compare::assert_same(&format!("{what}: {tensor}"), found, expected);
                }
            }
        }
    }
}

#[test]
fn an_expert_beyond_a_binding_is_refused() {
    let error = load(&narrow(15_000), "mixtral", &F32).err().unwrap();
    assert!(matches!(error, Error::Memory { needed_bytes: 15_360, available_bytes: 15_000, .. }), "{error}");
    assert!(error.to_string().contains("blocks.0.sublayers.1.experts.gate_up"), "{error}");
}

#[test]
fn a_cache_beyond_a_binding_is_refused() {
    let gpu = narrow(20_000);
    let model = load(&gpu, "llama", &F32).unwrap();
    let error = block_on(wattle::model::Session::new(&model, greedy(512))).err().unwrap();
    assert!(matches!(error, Error::Memory { needed_bytes: 32_768, available_bytes: 20_000, .. }), "{error}");
    assert!(error.to_string().contains("k_cache"), "{error}");
}
