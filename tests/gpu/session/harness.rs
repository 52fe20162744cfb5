//! Golden models on a test's device, and what of a session can be compared.

use std::collections::BTreeMap;

use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::plan::WeightPlan;
use wattle::model::{LoadOptions, Model, Session, SessionOptions, Source, open};
use wattle::quant::WeightFormat;
use wattle::wgpu::CommandEncoder;
use wattle::{Gpu, Result, Tensor};

use crate::harness::{block_on, gpu};
use crate::support::compare::{Tolerance, assert_close};
use crate::support::golden::directory;

/// Sums of a few hundred products, added in another order.
pub const CLOSE: Tolerance = Tolerance::Mixed(1e-4, 1e-4);
/// All weights as they are.
pub const F32: WeightPlan = WeightPlan {
    linear: WeightFormat::F32,
    experts: WeightFormat::F32,
    embedding: WeightFormat::F32,
    block_widths: BTreeMap::new(),
    expert_widths: BTreeMap::new(),
};

/// A golden checkpoint.
pub fn source(name: &str) -> Source {
    open(directory().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A golden model on the test's device.
pub fn model(name: &str) -> Model {
    load(gpu(), name, &F32).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A golden model on any device.
pub fn load(gpu: &Gpu, name: &str, plan: &WeightPlan) -> Result<Model> {
    block_on(Model::load(gpu, &source(name), LoadOptions::new(plan.clone())))
}

/// A session that takes the best token each time.
pub fn greedy(context: u32) -> SessionOptions {
    SessionOptions::new(context, Sampling::GREEDY)
}

/// A session that keeps the logits of every row of a prompt.
pub fn all_logits(context: u32) -> SessionOptions {
    SessionOptions { logits: LogitRows::All, sampling: None, ..greedy(context) }
}

pub fn session(model: &Model, options: SessionOptions) -> Session {
    block_on(Session::new(model, options)).unwrap()
}

/// Tokens without a pattern, the same at each call.
pub fn tokens(model: &Model, count: usize) -> Vec<u32> {
    let mut random = crate::support::random::Random::new(17);
    (0..count).map(|_| (random.bits() % u64::from(model.config().vocab_size)) as u32).collect()
}

/// Records and submits.
pub fn submit(gpu: &Gpu, record: impl FnOnce(&mut CommandEncoder) -> Result<()>) {
    block_on(gpu.submit("test", record)).unwrap();
}

pub fn feed(session: &mut Session, ids: &[u32]) {
    block_on(session.feed(ids)).unwrap();
}

/// One token of the caller's.
pub fn step(session: &mut Session, id: u32) -> Vec<f32> {
    let gpu = session.model().gpu().clone();
    submit(&gpu, |encoder| session.decode_token(encoder, id));
    logits(session)
}

pub fn logits(session: &Session) -> Vec<f32> {
    block_on(session.logits(1)).unwrap()
}

/// A tensor's words.
pub fn words(gpu: &Gpu, tensor: &Tensor) -> Vec<u32> {
    block_on(tensor.read(gpu, 0, tensor.bytes() as usize / 4)).unwrap()
}

/// Everything that a session keeps from pass to pass, bit for bit: logits, caches, samples, its place.
pub fn state(session: &Session) -> Vec<(String, Vec<u32>)> {
    let names = ["logits", "samples", "token_ids", "next_ids", "span"].map(String::from).into_iter();
    let caches = session.model().config().ops();
    let caches = caches.flat_map(|(place, _)| ["k_cache", "v_cache"].map(|part| place.name(part)));
    let found = names.chain(caches).filter_map(|name| {
        let words = words(session.model().gpu(), session.tensor(&name)?);
        Some((name, words))
    });
    found.collect()
}

#[track_caller]
pub fn assert_same_state(what: &str, found: &Session, expected: &Session) {
    assert_eq!(found.position(), expected.position(), "{what}: position");
    assert_eq!(found.sampled(), expected.sampled(), "{what}: tokens sampled");
    assert_unchanged(what, found, &state(expected));
}

#[track_caller]
pub fn assert_unchanged(what: &str, found: &Session, expected: &[(String, Vec<u32>)]) {
    for ((name, found), (expected_name, expected)) in state(found).iter().zip(expected) {
        assert_eq!(name, expected_name, "{what}");
        crate::support::compare::assert_same(&format!("{what}: {name}"), found, expected);
    }
}

/// Row `row` of logits.
#[track_caller]
pub fn assert_row(what: &str, found: &[f32], all: &[f32], row: usize) {
    let vocab = found.len();
    let expected = &all[row * vocab..][..vocab];
    assert_close(&format!("{what}, row {row}"), found, expected, CLOSE);
    let best = wattle::reference::sample::argmax;
    assert_eq!(best(found), best(expected), "{what}, row {row}: best token");
}

/// Logits of every token of a sequence, computed in one pass that never looks into a cache.
pub fn whole(model: &Model, ids: &[u32]) -> Vec<f32> {
    let count = ids.len() as u32;
    let mut session = session(model, SessionOptions { max_chunk: count, ..all_logits(count) });
    feed(&mut session, ids);
    block_on(session.logits(ids.len())).unwrap()
}
