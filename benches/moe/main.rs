//! Layers of experts: what routing and planning take, how the experts' products compare with dense ones, and models of experts
//! beside others. A table for each question; what is in several is measured once.
//!
//! `cargo bench --bench moe -- [--all] [--tables experts,tokens] [--weights f32,int4] [--path float] [--tokens 512] [--width 512]
//! [--expert 256] [--divide 16]`

#[expect(dead_code, reason = "other benches use the rest")]
#[path = "../support/mod.rs"]
mod support;

mod case;
mod check;
mod columns;
mod dispatches;
#[expect(clippy::unwrap_used, reason = "tests share it, which fail by panicking")]
#[path = "../../tests/support/expected.rs"]
mod expected;
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests share it, which fail by panicking")]
#[path = "../../tests/support/fill.rs"]
mod fill;
mod lab;
mod layer;
#[path = "../support/memory.rs"]
mod memory;
mod models;
#[path = "../support/peaks.rs"]
mod peaks;
#[path = "../../tests/support/random.rs"]
mod random;
mod tables;
mod trial;

use std::process::ExitCode;

use lab::Lab;
use layer::{Kind, Layer, Tokens, Way};
use support::arguments::Arguments;
use support::{Bench, LONGEST, Result, print_skipped};
use tables::QUESTIONS;
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;

const USAGE: &str = "[--all] [--tables experts,tokens] [--weights f32,int4] [--path float|integer|matrix] \
                     [--tokens 512] [--width 512] [--expert 256] [--divide 16]";

struct Options {
    all: bool,
    tables: Vec<String>,
    weights: Vec<WeightFormat>,
    path: ProductPath,
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
    let is_asked = |name: &str| options.tables.iter().any(|table| table == name);
    let base = |format: &WeightFormat| options.base(*format);
    let bases: Vec<_> = options.weights.iter().map(base).collect();
    let questions = QUESTIONS.iter().filter(|question| is_asked(question.name));
    let subjects = questions
        .map(|question| Ok((question, question.subjects(&bases, options.divisor)?)))
        .collect::<Result<Vec<_>>>()?;
    let longest = (!options.all).then_some(LONGEST);
    let mut lab = Lab::new(Bench::open("moe")?, options.path, longest)?;
    for (question, parts) in &subjects {
        question.answer(&mut lab, parts)?;
    }
    if is_asked(dispatches::NAME) {
        dispatches::run(&mut lab, &bases)?;
    }
    print_skipped(&lab.skipped);
    Ok(())
}

impl Options {
    fn read() -> Result<Self> {
        let mut arguments = Arguments::read();
        let all = arguments.flag("--all");
        let weights = arguments.value("--weights")?.unwrap_or_else(|| "f32,int4".into());
        let path = arguments.value("--path")?.map_or(Ok(ProductPath::default()), |path| path.parse())?;
        let tables = arguments.value("--tables")?.map_or_else(|| Ok(names()), |tables| known(&tables))?;
        let mut number = |name: &str, default: u32| -> Result<u32> {
            let number = arguments.value(name)?.map_or(Ok(default), |n| n.parse());
            number.ok().filter(|n| *n > 0).ok_or_else(|| format!("{name} takes a positive number").into())
        };
        let (tokens, width, expert) =
            (number("--tokens", 512)?, number("--width", 512)?, number("--expert", 256)?);
        let divisor = number("--divide", 16)?;
        arguments.finish(USAGE)?;
        let weights = weights.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { all, tables, weights, path, tokens, width, expert, divisor })
    }

    /// The layer that all others differ from in something.
    fn base(&self, format: WeightFormat) -> Layer {
        Layer {
            kind: Kind::Experts { count: 64, top_k: 4, way: Way::Best },
            width: self.width,
            hidden: self.expert,
            rows: self.tokens,
            tokens: Tokens::Random,
            format,
        }
    }
}

/// Of all tables.
fn names() -> Vec<String> {
    QUESTIONS.iter().map(|question| question.name).chain([dispatches::NAME]).map(String::from).collect()
}

/// Names of tables that there are.
fn known(tables: &str) -> Result<Vec<String>> {
    let (names, tables) = (names(), tables.split(',').map(String::from).collect::<Vec<_>>());
    match tables.iter().find(|table| !names.contains(table)) {
        Some(unknown) => Err(format!("there is no table '{unknown}'; there are {}", names.join(", ")).into()),
        None => Ok(tables),
    }
}
