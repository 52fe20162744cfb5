//! Layers of experts: what routing and planning take, and how the experts' products compare with dense ones.
//!
//! `cargo bench --bench moe -- [--weights f32,int4] [--tokens 512] [--width 512] [--expert 256] [--divide 16]`

#[expect(dead_code, reason = "other benches use the rest")]
#[path = "../support/mod.rs"]
mod support;

mod dispatches;
mod layer;
mod models;
#[path = "../support/peaks.rs"]
mod peaks;
mod trial;

use std::process::ExitCode;

use layer::{Kind, Layer, Tokens, Way};
use support::arguments::Arguments;
use support::table::Table;
use support::{Bench, Result, Row, microseconds};
use trial::{Measured, measure_layers};
use wattle::quant::WeightFormat;

const USAGE: &str = "[--weights f32,int4] [--tokens 512] [--width 512] [--expert 256] [--divide 16]";

const COLUMNS: [(&str, usize); 11] = [
    ("layer", 38),
    ("weights", 7),
    ("tokens", 10),
    ("us", 14),
    ("route us", 9),
    ("plan us", 8),
    ("share", 6),
    ("experts us", 11),
    ("combine us", 10),
    ("executed", 8),
    ("of dense", 8),
];

struct Options {
    weights: Vec<WeightFormat>,
    tokens: u32,
    width: u32,
    expert: u32,
    /// What widths of published models are divided by.
    divisor: u32,
}

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let options = Options::read()?;
    let mut bench = Bench::open("moe")?;
    let table = Table::begin(&COLUMNS);
    let base = |format| Layer {
        kind: Kind::Experts { count: 64, top_k: 4, way: Way::Best },
        width: options.width,
        hidden: options.expert,
        rows: options.tokens,
        tokens: Tokens::Random,
        format,
    };
    for format in &options.weights {
        let base = base(*format);
        for layer in layers(&base) {
            let Kind::Experts { top_k, .. } = layer.kind else { continue };
            // The same rows through one matrix.
            let rows = match layer.kind {
                Kind::Experts { way: Way::Chosen(factor), .. } => (factor * layer.rows as f32) as u32,
                _ => layer.rows * top_k,
            };
            let dense = Layer { kind: Kind::Dense, rows, ..layer };
            let [dense, measured] = measure_layers(&bench.gpu, [&dense, &layer])?;
            print(&mut bench, &table, &layer, &measured, &dense)?;
        }
    }
    let bases: Vec<_> = options.weights.iter().map(|format| base(*format)).collect();
    dispatches::run(&mut bench, &bases)?;
    println!();
    models::run(&mut bench, &base(WeightFormat::F32), &options.weights, options.divisor)
}

/// Experts at fixed choices, choices, tokens, how tokens are spread, and how they find experts.
fn layers(base: &Layer) -> Vec<Layer> {
    let of = |count, top_k| Layer { kind: Kind::Experts { count, top_k, way: Way::Best }, ..*base };
    let by = |top_k, way| Layer { kind: Kind::Experts { count: 64, top_k, way }, ..*base };
    let mut layers: Vec<_> = [8, 16, 32, 64, 128, 256, 512].map(|count| of(count, 4)).to_vec();
    layers.extend([1, 2, 8].map(|top_k| of(64, top_k)));
    layers.extend([1, 4, 16, 64, 128, 1024].map(|rows| Layer { rows, ..*base }));
    layers.extend([Tokens::Alike, Tokens::Skewed].map(|tokens| Layer { tokens, ..*base }));
    layers.extend([1.0, 1.25, 2.0].map(|factor| by(4, Way::Limited(factor))));
    layers.extend([1.0, 2.0, 4.0].map(|factor| by(1, Way::Chosen(factor))));
    layers.extend([8, 512].map(|tasks| by(4, Way::Task(tasks))));
    layers
}

fn print(
    bench: &mut Bench,
    table: &Table,
    layer: &Layer,
    measured: &Measured,
    dense: &Measured,
) -> Result<()> {
    let of = |whats: &[&str]| measured.of(whats);
    let route = of(&["router", "route"]);
    let plan = of(&["scores", "choose", "list", "count", "scan", "place"]);
    let products = ["expert_up", "expert_down"];
    let experts = of(&products);
    let all = measured.all();
    let share = route.zip(plan).zip(all).map(|((route, plan), all)| (route + plan) / all);
    let ratio = dense.over(&["up", "down"], measured, &products);
    let us = |time: Option<f64>| time.map_or("-".into(), |time| format!("{time:.0}"));
    let percent = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.0}%", 100.0 * share));
    let wall = format!("{:.0} ±{:.0}%", microseconds(measured.wall.median()), 50.0 * measured.wall.spread());
    table.row(&[
        layer.title(),
        layer.format.to_string(),
        layer.tokens.title(layer.rows),
        wall,
        us(route),
        us(plan),
        percent(share),
        us(experts),
        us(of(&["combine"])),
        format!("{:.2}", measured.executed),
        ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")),
    ]);
    let mut metrics = vec![("executed_rows_per_row", measured.executed)];
    let named = [
        ("route_us", route),
        ("plan_us", plan),
        ("experts_us", experts),
        ("share_of_routing", share),
        ("speed_of_dense", ratio),
    ];
    metrics.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let (shape, variant) = (layer.title(), format!("{} {}", layer.format, layer.tokens.title(layer.rows)));
    bench.record(&Row { name: bench.name, shape, variant, times: &measured.wall, metrics })
}

impl Options {
    fn read() -> Result<Self> {
        let mut arguments = Arguments::read();
        let weights = arguments.value("--weights")?.unwrap_or_else(|| "f32,int4".into());
        let mut number = |name: &str, default: u32| -> Result<u32> {
            let number = arguments.value(name)?.map_or(Ok(default), |n| n.parse());
            number.ok().filter(|n| *n > 0).ok_or_else(|| format!("{name} takes a positive number").into())
        };
        let (tokens, width, expert) =
            (number("--tokens", 512)?, number("--width", 512)?, number("--expert", 256)?);
        let divisor = number("--divide", 16)?;
        arguments.finish(USAGE)?;
        let weights = weights.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { weights, tokens, width, expert, divisor })
    }
}
