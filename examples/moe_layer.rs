//! One layer of experts on the device, as a model of a single block: what a token costs as experts are added, and
//! where tokens go.
//!
//! `cargo run --release --example moe_layer`

use wattle::energy::Level;
use wattle::kernel::Span;
use wattle::model::config::{
    Activation, Block, Experts, FeedForward, Head, ModelConfig, Norm, NormKind, Op, Routing, SubLayer,
};
use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::plan::WeightPlan;
use wattle::model::{Model, Session, SessionOptions};
use wattle::{Error, Gpu, GpuOptions, Result};

const TOP_K: u32 = 2;
const TOKENS: u32 = 16;

fn main() -> Result<()> {
    let gpu = Gpu::open_blocking(GpuOptions::default())?;
    gpu.block_on(run(&gpu))
}

async fn run(gpu: &Gpu) -> Result<()> {
    println!(
        "{:>8} {:>14} {:>14} {:>12}  tokens per expert",
        "experts", "weight bytes", "read/token", "ms/token"
    );
    for count in [2, 8, 32, 128] {
        let model = Model::random(gpu, &one_layer(count), WeightPlan::uniform("int4".parse()?), 1).await?;
        let options = SessionOptions {
            logits: LogitRows::All,
            trace: true,
            sampling: None,
            ledger: Level::Window,
            ..SessionOptions::new(2 * TOKENS, Sampling::GREEDY)
        };
        let mut session = Session::new(&model, options).await?;
        session.feed(&(0..TOKENS).collect::<Vec<_>>()).await?;
        // The router's choices of the prompt, left on the device because the session is traced.
        let name = "blocks.0.sublayers.0.expert_of_slot";
        let routes = session.tensor(name).ok_or_else(|| Error::MissingTensor { name: name.into() })?;
        let chosen: Vec<u32> = routes.read(gpu, 0, (TOKENS * TOP_K) as usize).await?;

        session.ledger().clear();
        for token in 0..TOKENS {
            gpu.submit("decode", |encoder| session.decode_token(encoder, token)).await?;
        }
        session.ledger().collect(gpu).await?;
        let device_ns: Option<u64> = session.ledger().passes().map(|pass| pass.window.duration_ns()).sum();
        let time = device_ns.map_or("-".into(), |ns| format!("{:.3}", ns as f64 / f64::from(TOKENS) / 1e6));
        let [_, decode] = session.schedules();
        let read = decode.work(Span { position: TOKENS, rows: 1 }).total_bytes().least;
        println!("{count:>8} {:>14} {read:>14} {time:>12}  {}", model.layout().bytes(), load(&chosen, count));
        if count == 128 {
            println!("\nThe dispatches of one token:\n\n{decode}");
        }
    }
    Ok(())
}

/// How many slots went to each expert that got one, most first.
fn load(chosen: &[u32], count: u32) -> String {
    let mut slots: Vec<_> = (0..count).map(|e| chosen.iter().filter(|c| **c == e).count()).collect();
    slots.sort_unstable_by(|a, b| b.cmp(a));
    let shown: Vec<_> = slots.iter().take_while(|n| **n > 0).map(ToString::to_string).collect();
    shown.join(" ")
}

fn one_layer(count: u32) -> ModelConfig {
    let norm = Norm { kind: NormKind::Rms, eps: 1e-6 };
    let expert = FeedForward::gated(512, Activation::Silu);
    let routing = Routing::softmax_topk(true);
    let experts = Op::Experts(Experts::new(count, TOP_K, routing, expert));
    ModelConfig {
        name: format!("one layer of {count} experts"),
        vocab_size: TOKENS,
        hidden_size: 256,
        context_length: 2 * TOKENS,
        encoder: None,
        relative_bias: None,
        embedding_scale: 1.0,
        learned_positions: false,
        layer_inputs: None,
        streams: None,
        blocks: vec![Block { sublayers: vec![SubLayer::new(norm, experts)] }],
        final_norm: norm,
        head: Head { tied: true, ..Head::default() },
    }
}
