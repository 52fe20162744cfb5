//! A story from the bundled model, and what it cost: `cargo xtask demo`.

use std::io::Write;
use std::ops::ControlFlow;

use wattle::energy::{Ledger, Level, Phase};
use wattle::model::forward::Sampling;
use wattle::model::plan::WeightPlan;
use wattle::model::session::GenerateOptions;
use wattle::model::{LoadOptions, Model, Session, SessionOptions, open};
use wattle::{Gpu, GpuOptions, Result};

/// The bundled model tells a story after a newline, and ends it with one.
const PROMPT: &str = "\n";
const STORY: u32 = 900;
const SHORT: u32 = 24;

fn main() -> Result<()> {
    let gpu = Gpu::open_blocking(GpuOptions::default())?;
    gpu.block_on(run(&gpu))
}

async fn run(gpu: &Gpu) -> Result<()> {
    let info = gpu.info();
    println!("adapter  {} ({}, {} {})", info.name, info.backend, info.driver, info.driver_info);
    let source = open(concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-nested"))?;
    let plan = WeightPlan::uniform("int8".parse()?);
    let model = Model::load(gpu, &source, LoadOptions::new(plan)).await?;
    let bytes = model.layout().bytes();
    let load_ms = model.load_time().as_secs_f64() * 1e3;
    println!(
        "model    {}, int8 weights, {:.2} MB on the device, loaded in {load_ms:.0} ms\n",
        { model.config().name.as_str() },
        bytes as f64 / 1e6
    );

    let mut session = new_session(&model, Level::Window).await?;
    let generated = generate(&mut session, STORY, |text| print!("{text}")).await?;
    println!();
    session.ledger().collect(gpu).await?;
    let wall = generated.decode_time.as_secs_f64();
    let tokens = generated.tokens.len();
    println!(
        "{tokens} tokens, {:.1} tokens/s, first token after {:.0} ms",
        { tokens.saturating_sub(1) as f64 / wall },
        generated.time_to_first_token.as_secs_f64() * 1e3
    );
    print_device_time(session.ledger());

    // Timing every dispatch apart slows all of them down, so it is done on a short run of its own.
    let mut session = new_session(&model, Level::Dispatch).await?;
    generate(&mut session, SHORT, |_| ()).await?;
    session.ledger().collect(gpu).await?;
    println!(
        "\nBy kernel, over a prompt of {} and {SHORT} tokens, each dispatch timed apart:\n",
        PROMPT.len()
    );
    println!("{}", session.ledger().table());
    println!("\nEnergy: not known (no sensor and no calibrated profile).");
    Ok(())
}

async fn new_session(model: &Model, ledger: Level) -> Result<Session> {
    let sampling = Sampling { temperature: 0.7, top_k: 40, top_p: 0.95, seed: 11 };
    let context = model.config().context_length;
    Session::new(model, SessionOptions { ledger, ..SessionOptions::new(context, sampling) }).await
}

async fn generate(
    session: &mut Session,
    max_tokens: u32,
    mut show: impl FnMut(char),
) -> Result<wattle::model::session::Generated> {
    let prompt: Vec<u32> = PROMPT.bytes().map(u32::from).collect();
    let request = GenerateOptions { max_tokens, stop_ids: vec![u32::from(b'\n')] };
    session
        .generate(&prompt, &request, |token| {
            show(char::from(token as u8));
            // Nobody is told when standard output is closed; the story then ends unheard.
            match std::io::stdout().flush() {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
        .await
}

fn print_device_time(ledger: &Ledger) {
    match ledger.phase_time(Phase::Decode) {
        Some((ns, tokens, _)) if tokens > 0 && ns > 0 => {
            println!("device   {:.3} ms per token", ns as f64 / tokens as f64 / 1e6);
        }
        _ => println!("device   time not known: no timestamps"),
    }
}
