//! One layer of experts, as a model of a single block: what a token costs as experts are added.
//!
//! `cargo run --release --example moe_layer`

use wattle::Result;
use wattle::energy::Phase;
use wattle::gpu::Capabilities;
use wattle::kernel::Span;
use wattle::model::config::{
    Activation, Block, Experts, FeedForward, Head, ModelConfig, Norm, NormKind, Op, Routing, SubLayer,
};
use wattle::model::forward::{LogitRows, PassOptions, record};
use wattle::model::layout::Layout;
use wattle::model::plan::WeightPlan;

fn main() -> Result<()> {
    println!("{:>8} {:>14} {:>14} {:>12}", "experts", "weight bytes", "read/token", "dispatches");
    for count in [2, 8, 32, 128] {
        let config = one_layer(count);
        let plan = WeightPlan::uniform("int4".parse()?);
        let layout = Layout::new(&config, &plan, &Capabilities::webgpu())?;
        let options = PassOptions {
            phase: Phase::Decode,
            max_rows: 1,
            context: 16,
            logits: LogitRows::None,
            trace: false,
            sampling: None,
        };
        // A schedule is plain data: it is recorded, counted and printed without a GPU.
        let schedule = record(&config, &layout, &Capabilities::webgpu(), &options)?;
        let work = schedule.work(Span { position: 0, rows: 1 });
        println!(
            "{count:>8} {:>14} {:>14} {:>12}",
            layout.bytes(),
            work.total_bytes().least,
            schedule.steps.len()
        );
        if count == 8 {
            println!("\n{schedule}");
        }
    }
    Ok(())
}

fn one_layer(count: u32) -> ModelConfig {
    let norm = Norm { kind: NormKind::Rms, eps: 1e-6 };
    let expert = FeedForward { hidden: 512, activation: Activation::Silu, gated: true, bias: false };
    let routing = Routing::SoftmaxTopk { renormalize: true };
    let experts = Op::Experts(Experts { count, top_k: 2, routing, expert });
    ModelConfig {
        name: format!("one layer of {count} experts"),
        vocab_size: 16,
        hidden_size: 256,
        context_length: 16,
        embedding_scale: 1.0,
        blocks: vec![Block { sublayers: vec![SubLayer { norm, op: experts, post_norm: None }] }],
        final_norm: norm,
        head: Head { tied: true, softcap: None },
    }
}
