//! What a traced session tells of its routers.

use std::ops::ControlFlow;

use wattle::energy::Level;
use wattle::gpu::Capabilities;
use wattle::kernel::Span;
use wattle::model::config::{
    Activation, Block, Capacity, Experts, FeedForward, GrantOrder, Head, ModelConfig, Norm, NormKind, Op,
    Routing, Share, SubLayer, Topk,
};
use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::plan::WeightPlan;
use wattle::model::router_metrics::{Noise, SmoothLoad};
use wattle::model::session::{GenerateOptions, SessionPlan};
use wattle::model::{Model, Session, SessionOptions};
use wattle::quant::WeightFormat;
use wattle::reference::moe::{Router, Training, softplus, with_noise};

use crate::harness::{block_on, gpu};

const ROWS: u32 = 40;
pub const EXPERTS: u32 = 8;

/// Two layers of small experts.
pub fn model(routing: Routing, top_k: u32, capacity: Option<Capacity>) -> ModelConfig {
    let norm = Norm { kind: NormKind::Rms, eps: 1e-6 };
    let expert = FeedForward::gated(16, Activation::Silu);
    let experts = Experts { capacity, ..Experts::new(EXPERTS, top_k, routing, expert) };
    ModelConfig {
        name: "routes".into(),
        vocab_size: 64,
        hidden_size: 32,
        context_length: 64,
        encoder: None,
        relative_bias: None,
        embedding_scale: 1.0,
        learned_positions: false,
        layer_inputs: None,
        streams: None,
        blocks: vec![Block { sublayers: vec![SubLayer::new(norm, Op::Experts(experts))] }; 2],
        final_norm: norm,
        head: Head { tied: true, ..Head::default() },
    }
}

/// The noise of the second chunk is that by which the device chose, and load follows from it.
#[test]
fn smooth_load_is_that_of_the_noise() {
    let routing = match Routing::softmax_topk(true) {
        Routing::Topk(topk) => Routing::Topk(Topk { noise: true, ..topk }),
        routing => routing,
    };
    let config = model(routing, 2, None);
    let model = block_on(Model::random(gpu(), &config, WeightPlan::uniform(WeightFormat::F32), 3)).unwrap();
    let (first, rows, count) = (24, (ROWS - 24) as usize, EXPERTS as usize);
    for training in [None, Some(5)] {
        let options = SessionOptions {
            trace: true,
            sampling: None,
            max_chunk: first,
            training,
            ..SessionOptions::new(ROWS, Sampling::GREEDY)
        };
        let mut session = block_on(Session::new(&model, options)).unwrap();
        block_on(session.feed(&(0..ROWS).collect::<Vec<_>>())).unwrap();
        for (place, found) in block_on(session.router_metrics()).unwrap() {
            assert_eq!(found.smooth_load.is_some(), training.is_some(), "{place:?}");
            let (Some(seed), Some(load)) = (training, found.smooth_load) else { continue };
            let tensor = |part: &str| session.tensor(&place.name(part)).unwrap();
            let outputs: Vec<f32> =
                block_on(tensor("router_logits").read(gpu(), 0, rows * 2 * count)).unwrap();
            let halves = |half: usize| outputs.chunks(count).skip(half).step_by(2).flatten().copied();
            let (logits, spreads): (Vec<f32>, Vec<f32>) = (halves(0).collect(), halves(1).collect());
            let positions: Vec<u32> = (first..ROWS).collect();
            let training = Training { seed: place.seed(seed), positions: &positions };
            let noisy = with_noise(&logits, &spreads, count, training);
            let chosen: Vec<u32> = block_on(tensor("expert_of_slot").read(gpu(), 0, rows * 2)).unwrap();
            assert_eq!(Router::new(routing, count, 2).choose(&noisy), chosen, "{place:?}");
            let deviations: Vec<f32> = spreads.iter().map(|spread| softplus(*spread) as f32).collect();
            let noise = Noise { logits: &noisy, deviations: &deviations };
            assert_eq!(load, SmoothLoad::of(&logits, noise, count, 2), "{place:?}");
        }
    }
}

#[test]
fn choices_drops_and_places_add_up() {
    let half = Capacity { factor: 0.5, share: Share::PerChoice, order: GrantOrder::Priority };
    let choice = Routing::ExpertChoice { factor: 2.0 };
    for (routing, top_k, capacity, slots) in [
        (Routing::softmax_topk(true), 2, None, 2 * ROWS),
        (Routing::softmax_topk(true), 2, Some(half), 2 * ROWS),
        (Routing::Hash, 1, None, ROWS),
        // Each of 8 experts takes twice 40 / 8 tokens.
        (choice, 1, None, 80),
    ] {
        let config = model(routing, top_k, capacity);
        let model =
            block_on(Model::random(gpu(), &config, WeightPlan::uniform(WeightFormat::F32), 3)).unwrap();
        let options = SessionOptions {
            logits: LogitRows::All,
            trace: true,
            sampling: None,
            ..SessionOptions::new(ROWS, Sampling::GREEDY)
        };
        let mut session = block_on(Session::new(&model, options)).unwrap();
        block_on(session.feed(&(0..ROWS).collect::<Vec<_>>())).unwrap();
        let layers = block_on(session.router_metrics()).unwrap();
        assert_eq!(layers.len(), 2, "{routing:?}");
        for (place, found) in layers {
            let computed: u64 = found.tokens_per_expert.iter().sum();
            assert_eq!(computed + found.dropped, u64::from(slots), "{routing:?}, {place:?}: {found:?}");
            assert_eq!(found.experts_per_token.iter().sum::<u64>(), u64::from(ROWS), "{place:?}: {found:?}");
            assert_eq!(found.dropped > 0, capacity.is_some(), "{routing:?}, {place:?}: {found:?}");
            assert_eq!(found.logits.is_some(), routing.has_router(), "{routing:?}");
            if routing == choice {
                assert_eq!((found.load_cv2, found.max_over_mean), (0.0, 1.0), "{place:?}: {found:?}");
            }
            if let Some(logits) = found.logits {
                assert!((0.5..4.0).contains(&logits.load_balance), "{routing:?}, {place:?}: {logits:?}");
            }
        }
        session.reset();
        block_on(gpu().submit("decode", |encoder| session.decode_token(encoder, 1))).unwrap();
        assert!(block_on(session.router_metrics()).is_err(), "a step of decoding");
    }
}

/// Every routing family leaves what a trace shows, chunk by chunk and step by step, without a dispatch more.
#[test]
fn the_ledger_keeps_what_routers_leave() {
    let half = Capacity { factor: 0.5, share: Share::PerChoice, order: GrantOrder::Priority };
    let noisy = match Routing::softmax_topk(true) {
        Routing::Topk(topk) => Routing::Topk(Topk { noise: true, ..topk }),
        routing => routing,
    };
    for (routing, top_k, capacity, training) in [
        (Routing::softmax_topk(true), 2, None, None),
        (Routing::softmax_topk(true), 2, Some(half), None),
        (noisy, 2, None, Some(5)),
        (Routing::Hash, 1, None, None),
        (Routing::Sinkhorn { iterations: 3 }, 1, None, Some(5)),
        (Routing::ExpertChoice { factor: 2.0 }, 1, None, None),
    ] {
        let config = model(routing, top_k, capacity);
        let model =
            block_on(Model::random(gpu(), &config, WeightPlan::uniform(WeightFormat::F32), 3)).unwrap();
        let options = |router_telemetry| SessionOptions {
            trace: true,
            router_telemetry,
            training,
            max_chunk: 24,
            ..SessionOptions::new(ROWS + 2, Sampling::GREEDY)
        };
        let mut session = block_on(Session::new(&model, options(true))).unwrap();
        let without = block_on(Session::new(&model, options(false))).unwrap();
        let dispatches = |session: &Session| session.schedules().map(|schedule| schedule.dispatches());
        assert_eq!(dispatches(&session), dispatches(&without), "{routing:?}");
        block_on(session.feed(&(0..ROWS).collect::<Vec<_>>())).unwrap();
        let traced = block_on(session.router_metrics()).unwrap();
        block_on(gpu().submit("decode", |encoder| session.decode(encoder))).unwrap();
        // Recorded, and not run yet.
        let mut encoder = gpu().device().create_command_encoder(&Default::default());
        session.decode(&mut encoder).unwrap();
        block_on(session.ledger().collect(gpu())).unwrap();
        let passes: Vec<_> = session.ledger().passes().cloned().collect();
        let layers: Vec<_> = passes.iter().map(|pass| session.router_metrics_of(pass)).collect();
        assert_eq!(layers.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2, 0], "{routing:?}");
        assert_eq!(layers[1], traced, "{routing:?}");
        for (pass, layers) in passes.iter().zip(&layers) {
            for (place, found) in layers {
                let tokens: u64 = found.experts_per_token.iter().sum();
                assert_eq!(tokens, u64::from(pass.rows()), "{routing:?}, {place:?}: {found:?}");
            }
        }
        let mut text = Vec::new();
        session.write_ledger(&mut text).unwrap();
        assert!(without.router_metrics_of(&passes[0]).is_empty(), "a pass of another session");
        let lines = String::from_utf8(text).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let routers: Vec<_> = lines.filter(|line| line["t"] == "router").collect();
        assert_eq!(routers.len(), 6, "{routing:?}");
        assert_eq!(routers[3]["tokens_per_expert"].as_array().unwrap().len(), EXPERTS as usize);
        assert_eq!(routers[3]["dropped"], traced[1].1.dropped, "{routing:?}");
    }
}

/// A pass that was taken back takes nothing with it: passes after it have their notes, however many they are.
#[test]
fn a_pass_that_never_ran_holds_no_room() {
    let config = model(Routing::Hash, 1, None);
    let mut config = ModelConfig { context_length: 400, ..config };
    for block in &mut config.blocks {
        let Op::Experts(experts) = &mut block.sublayers[0].op else { unreachable!("the model above") };
        experts.count = 1;
    }
    let model = block_on(Model::random(gpu(), &config, WeightPlan::uniform(WeightFormat::F32), 3)).unwrap();
    // With room for 256 steps and little more.
    let options =
        SessionOptions { router_telemetry: true, max_chunk: 8, ..SessionOptions::new(400, Sampling::GREEDY) };
    let mut session = block_on(Session::new(&model, options)).unwrap();
    block_on(session.feed(&[1, 2, 3])).unwrap();
    let mark = session.mark();
    let mut encoder = gpu().device().create_command_encoder(&Default::default());
    session.decode(&mut encoder).unwrap();
    drop(encoder);
    session.rewind(mark);
    assert_eq!(session.ledger().passes().count(), 1);
    let steps = GenerateOptions { max_tokens: 380, stop_ids: Vec::new() };
    block_on(session.generate(&[4], &steps, |_| ControlFlow::Continue(()))).unwrap();
    block_on(session.ledger().collect(gpu())).unwrap();
    let passes: Vec<_> = session.ledger().passes().cloned().collect();
    assert_eq!(passes.len(), 381);
    for (n, pass) in passes.iter().enumerate() {
        let metrics = session.router_metrics_of(pass);
        assert_eq!(metrics.len(), 2, "pass {n}");
        assert!(metrics.iter().all(|(_, m)| m.tokens_per_expert == [u64::from(pass.rows())]), "pass {n}");
    }
}

/// At other widths a session goes on in its chunks, whatever these compute on the way, and knows what passes before have left.
#[test]
fn passes_of_other_widths_keep_their_routes() {
    let config = model(Routing::softmax_topk(true), 2, None);
    let plan = |format: &str| WeightPlan::uniform(format.parse().unwrap());
    let int8 = block_on(Model::random(gpu(), &config, plan("int8:planes"), 3)).unwrap();
    let int4 = int8.served_at(&plan("int4:planes")).unwrap();
    for [first, second] in [[&int8, &int4], [&int4, &int8]] {
        let options =
            SessionOptions { router_telemetry: true, ..SessionOptions::new(ROWS, Sampling::GREEDY) };
        let capabilities = gpu().capabilities();
        let whole = SessionPlan::new(&config, first.layout(), capabilities, &options).unwrap();
        let chunk_ops = whole.prefill.0.most_ops(Span { position: 0, rows: ROWS });
        let mut session = block_on(Session::new(first, SessionOptions { chunk_ops, ..options })).unwrap();
        assert_eq!(session.chunk_rows(), ROWS);
        block_on(session.feed(&[1, 2, 3])).unwrap();
        block_on(session.serve(second)).unwrap();
        block_on(session.feed(&[4, 5])).unwrap();
        block_on(session.ledger().collect(gpu())).unwrap();
        let passes: Vec<_> = session.ledger().passes().cloned().collect();
        let layers: Vec<_> = passes.iter().map(|pass| session.router_metrics_of(pass).len()).collect();
        assert_eq!(layers, [2, 2]);
    }
}

/// Notes take their room from the ceiling, and a ledger that is off keeps none.
#[test]
fn notes_are_planned_for() {
    let config = model(Routing::softmax_topk(true), 2, None);
    let model = block_on(Model::random(gpu(), &config, WeightPlan::uniform(WeightFormat::F32), 3)).unwrap();
    let plan = |router_telemetry| {
        let options = SessionOptions { router_telemetry, ..SessionOptions::new(ROWS, Sampling::GREEDY) };
        let capabilities = gpu().capabilities();
        SessionPlan::new(&config, model.layout(), capabilities, &options).unwrap()
    };
    let (with, without) = (plan(true), plan(false));
    assert!(without.prefill.0.notes.is_empty() && without.decode.0.notes.is_empty());
    // Logits, experts and weights of both layers, for a chunk and 256 steps, each with a word before; written and read.
    let words = 2 * u64::from(EXPERTS + 2 + 2) * (u64::from(with.chunk_rows) + 256) + 257;
    assert_eq!(with.ledger_bytes - without.ledger_bytes, 2 * 4 * words + 4);
    let options = SessionOptions {
        router_telemetry: true,
        ledger: Level::Off,
        ..SessionOptions::new(ROWS, Sampling::GREEDY)
    };
    let small = Capabilities { max_buffer_bytes: 4 * words - 1, ..gpu().capabilities().clone() };
    let error = with.check_limits(&small).unwrap_err().to_string();
    assert!(error.contains("notes of routers"), "{error}");
    let off = SessionPlan::new(&config, model.layout(), gpu().capabilities(), &options).unwrap();
    assert_eq!(off.ledger_bytes, 0);
    let mut session = block_on(Session::new(&model, options)).unwrap();
    block_on(session.feed(&[1, 2, 3])).unwrap();
    assert_eq!(session.ledger().passes().count(), 0);
}
