//! Whole forward passes: prompts and answers of models with random weights, then what launching a kernel costs.
//!
//! `cargo bench --bench forward -- [--all] [--models a,b] [--blocks N] [--serial] [--weights f32,int4] [--tokens N]`

#[path = "../support/mod.rs"]
mod support;

mod blocks;
mod case;
mod launch;
#[path = "../support/memory.rs"]
mod memory;
mod session;

use std::process::ExitCode;

use support::arguments::Arguments;
use support::roof::Roof;
use support::table::Table;
use support::{Bench, Result};
use wattle::model::config::ModelConfig;
use wattle::model::presets::{PRESETS, preset};
use wattle::quant::WeightFormat;

use case::Case;

const USAGE: &str =
    "[--all] [--models a,b] [--blocks N] [--serial] [--weights f32,f16,int8,int4,int2] [--tokens N]";

struct Options {
    all: bool,
    models: Vec<ModelConfig>,
    weights: Vec<WeightFormat>,
    tokens: u32,
}

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let options = Options::read()?;
    let mut bench = Bench::open("forward")?;
    let roof = Roof::measure(&bench.gpu)?;
    let table = Table::begin(&session::COLUMNS);
    let mut skipped = Vec::new();
    for config in &options.models {
        for format in &options.weights {
            if let Some(reason) = row(&mut bench, &roof, &table, &options, config, *format)? {
                skipped.push(format!("{:<14}  {format:<5}  {reason}", config.name));
            }
        }
    }
    launch::measure(&mut bench)?;
    support::print_skipped(&skipped);
    Ok(())
}

/// Measures a row and prints it, or gives a reason not to.
fn row(
    bench: &mut Bench,
    roof: &Roof,
    table: &Table,
    options: &Options,
    config: &ModelConfig,
    format: WeightFormat,
) -> Result<Option<String>> {
    let case = match Case::plan(&bench.gpu, config, format, options.tokens) {
        Ok(case) => case,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let predicted = case.predict(roof);
    if predicted > support::LONGEST && !options.all {
        return Ok(Some(format!("predicted to take {:.0} s", predicted.as_secs_f64())));
    }
    if let Some(reason) = memory::lacks(&bench.gpu, case.bytes())? {
        return Ok(Some(reason));
    }
    let measured = session::measure(&bench.gpu, &case)?;
    table.row(&measured.cells(&case, roof));
    for row in measured.rows(&case) {
        bench.record(&row)?;
    }
    Ok(None)
}

impl Options {
    fn read() -> Result<Self> {
        let mut arguments = Arguments::read();
        let (all, with_serial) = (arguments.flag("--all"), arguments.flag("--serial"));
        let blocks = arguments.value("--blocks")?.map_or(Ok(usize::MAX), |n| n.parse());
        let (models, weights) = (arguments.value("--models")?, arguments.value("--weights")?);
        let tokens = arguments.value("--tokens")?.map_or(Ok(128), |n| n.parse());
        arguments.finish(USAGE)?;
        let known = || PRESETS.map(|(name, _)| name).join(",");
        let models = models.unwrap_or_else(known);
        let find = |name| preset(name).ok_or_else(|| format!("no model '{name}'; there are {}", known()));
        let models = models.split(',').map(find).collect::<Result<Vec<_>, _>>()?;
        let blocks = blocks.ok().filter(|blocks| *blocks > 0).ok_or("--blocks takes a positive number")?;
        let models = models.into_iter().map(|config| blocks::first(config, blocks));
        let with_serial = |config: ModelConfig| {
            let serial = with_serial.then(|| blocks::serial(&config)).flatten();
            std::iter::once(config).chain(serial)
        };
        let weights = weights.unwrap_or_else(|| "f32,f16,int8,int4,int2".into());
        Ok(Self {
            all,
            models: models.flat_map(with_serial).collect(),
            weights: weights.split(',').map(str::parse).collect::<Result<_, _>>()?,
            tokens: tokens.ok().filter(|tokens| *tokens > 0).ok_or("--tokens takes a positive number")?,
        })
    }
}
