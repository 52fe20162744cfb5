//! One table for each question.

use wattle::model::config::ModelConfig;
use wattle::quant::WeightFormat;

use super::columns::{self, Column};
use super::lab::{Lab, Line};
use super::layer::{Layer, Tokens, Way};
use super::models;
use super::support::Result;
use super::support::table::Table;

/// A question.
pub struct Question {
    /// What `--tables` calls it.
    pub name: &'static str,
    pub title: &'static str,
    columns: &'static [Column],
    /// Rows in parts, each compared with its own first.
    rows: fn(&Scale) -> Result<Vec<Vec<Subject>>>,
}

/// How large everything is.
pub struct Scale {
    /// Four of 64 experts.
    pub base: Layer,
    /// What widths of published models are divided by.
    pub divisor: u32,
}

/// Rows in one format that are compared with the first of them.
pub type Part = (WeightFormat, Vec<Subject>);

/// What a row is of.
pub enum Subject {
    Layer(Layer),
    /// A model over so many tokens.
    Model(ModelConfig, u32),
}

const LAYERS: &[Column] = &[
    columns::LAYER,
    columns::WEIGHTS,
    columns::TOKENS,
    columns::US,
    columns::OF_FIRST,
    columns::ROUTE,
    columns::PLAN,
    columns::PRODUCTS,
    columns::COMBINE,
    columns::EXECUTED,
];
const BY_TOKEN: &[Column] = &[
    columns::LAYER,
    columns::WEIGHTS,
    columns::TOKENS,
    columns::US,
    columns::US_PER_TOKEN,
    columns::ROUTE,
    columns::PLAN,
    columns::PRODUCTS,
    columns::COMBINE,
    columns::EXECUTED,
];
const SHARES: &[Column] = &[
    columns::LAYER,
    columns::WEIGHTS,
    columns::TOKENS,
    columns::ALL,
    columns::ROUTE,
    columns::PLAN,
    columns::SHARE,
];
const PRODUCTS: &[Column] = &[
    columns::LAYER,
    columns::WEIGHTS,
    columns::TOKENS,
    columns::PRODUCTS,
    columns::DENSE,
    columns::OF_DENSE,
    columns::EXECUTED,
];
const MODELS: &[Column] = &[
    columns::MODEL,
    columns::WEIGHTS,
    columns::TOKENS,
    columns::US,
    columns::OF_FIRST,
    columns::TOKENS_PER_S,
    columns::PARAMETERS,
    columns::ACTIVATED,
    columns::READ,
    columns::MOVED,
    columns::ENERGY,
];

pub const QUESTIONS: [Question; 12] = [
    Question {
        name: "experts",
        title: "how many experts there are, at four a token",
        columns: LAYERS,
        rows: |scale| one_part(experts(&scale.base)),
    },
    Question {
        name: "choices",
        title: "how many experts a token has, of 64",
        columns: LAYERS,
        rows: |scale| one_part([1, 2, 4, 8].map(|top_k| scale.base.by(64, top_k, Way::Best))),
    },
    Question {
        name: "capacity",
        title: "how many times its even share an expert takes at most; the first takes all that come",
        columns: LAYERS,
        rows: |scale| {
            let ways = [1.0, 1.25, 1.5, 2.0].map(Way::Limited);
            one_part([Way::Best].into_iter().chain(ways).map(|way| scale.base.by(64, 4, way)))
        },
    },
    Question {
        name: "tokens",
        title: "how many tokens there are",
        columns: BY_TOKEN,
        rows: |scale| one_part(tokens(&scale.base)),
    },
    Question {
        name: "skew",
        title: "how tokens are spread: over all experts alike, most to a few, all to the same",
        columns: LAYERS,
        rows: |scale| {
            let spread = [Tokens::Random, Tokens::Skewed, Tokens::Alike];
            one_part(spread.map(|tokens| Layer { tokens, ..scale.base }))
        },
    },
    Question {
        name: "routing",
        title: "how tokens find experts",
        columns: LAYERS,
        rows: |scale| one_part(families(&scale.base)),
    },
    Question {
        name: "share",
        title: "what routing and planning take of a layer, by the device's clock",
        columns: SHARES,
        rows: |scale| Ok(vec![layers(experts(&scale.base)), layers(tokens(&scale.base))]),
    },
    Question {
        name: "dense",
        title: "experts' products beside those of a dense network over as many rows",
        columns: PRODUCTS,
        rows: |scale| Ok(vec![layers(experts(&scale.base)), layers(tokens(&scale.base))]),
    },
    Question {
        name: "parameters",
        title: "experts beside dense networks of as many parameters as a token uses, and as there are",
        columns: MODELS,
        rows: |scale| Ok(of_rows(scale, &models::sparse_and_dense(&scale.base))),
    },
    Question {
        name: "steps",
        title: "a step where experts take 1.25 and 2.0 times their even share: a layer, and a stack of GLaM's blocks",
        columns: MODELS,
        rows: |scale| {
            let limited = [1.25, 2.0].map(|factor| scale.base.by(64, 4, Way::Limited(factor)));
            let stacks = models::limited_glam(scale.divisor)?;
            Ok(vec![layers(limited), stacks.map(|stack| Subject::Model(stack, scale.base.rows)).into()])
        },
    },
    Question {
        name: "blocks",
        title: "GLaM's blocks beside Brainformer's",
        columns: MODELS,
        rows: |scale| Ok(of_rows(scale, &models::orders(scale.divisor)?)),
    },
    Question {
        name: "tasks",
        title: "experts by task: how many tasks are stored",
        columns: LAYERS,
        rows: |scale| one_part([8, 512].map(|tasks| scale.base.by(64, 4, Way::Task(tasks)))),
    },
];

impl Question {
    /// Everything that is asked about, known before anything is measured.
    ///
    /// # Errors
    /// For models that cannot be made so narrow.
    pub fn subjects(&self, bases: &[Layer], divisor: u32) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for base in bases {
            let of_format = (self.rows)(&Scale { base: *base, divisor })?;
            parts.extend(of_format.into_iter().map(|subjects| (base.format, subjects)));
        }
        Ok(parts)
    }

    pub fn answer(&self, lab: &mut Lab, parts: &[Part]) -> Result<()> {
        println!("\n{}: {}", self.name, self.title);
        let table =
            Table::begin(&self.columns.iter().map(|(title, width, _)| (*title, *width)).collect::<Vec<_>>());
        let mut why_no_energy = None;
        let mut has_rows = false;
        for (format, subjects) in parts {
            let mut first = None;
            for subject in subjects {
                let line = match subject {
                    Subject::Layer(layer) => lab.layer(layer)?,
                    Subject::Model(config, rows) => lab.model(config, *format, *rows)?,
                };
                let Some(line) = line else { continue };
                if first.is_none() && has_rows {
                    println!();
                }
                has_rows = true;
                let first: &Line = first.get_or_insert_with(|| line.clone());
                table.row(&self.columns.iter().map(|(.., cell)| cell(&line, first)).collect::<Vec<_>>());
                why_no_energy = why_no_energy.or(line.measured.joules.clone().err());
            }
        }
        let has_energy = self.columns.iter().any(|(title, ..)| *title == columns::ENERGY.0);
        if let Some(why) = why_no_energy.filter(|_| has_energy) {
            println!("energy is not known: {why}");
        }
        Ok(())
    }
}

fn layers(layers: impl IntoIterator<Item = Layer>) -> Vec<Subject> {
    layers.into_iter().map(Subject::Layer).collect()
}

fn one_part(of: impl IntoIterator<Item = Layer>) -> Result<Vec<Vec<Subject>>> {
    Ok(vec![layers(of)])
}

/// Models over one token, and over many.
fn of_rows(scale: &Scale, models: &[ModelConfig]) -> Vec<Vec<Subject>> {
    let over = |rows| models.iter().map(|model| Subject::Model(model.clone(), rows)).collect();
    vec![over(1), over(scale.base.rows)]
}

fn experts(base: &Layer) -> Vec<Layer> {
    [8, 16, 32, 64, 128, 256, 512].map(|count| base.by(count, 4, Way::Best)).into()
}

fn tokens(base: &Layer) -> Vec<Layer> {
    let mut rows = vec![1, 4, 16, 64, 128, 512, 1024, 4096, base.rows];
    rows.sort_unstable();
    rows.dedup();
    rows.into_iter().map(|rows| Layer { rows, ..*base }).collect()
}

/// Four experts a token where a way allows it, or two, or one.
fn families(base: &Layer) -> Vec<Layer> {
    let of =
        |top_k: u32, ways: &[Way]| ways.iter().map(move |way| base.by(64, top_k, *way)).collect::<Vec<_>>();
    [
        of(4, &[Way::Best, Way::Noisy, Way::Sigmoid, Way::Groups(8), Way::Hierarchical(8)]),
        of(4, &[Way::Hash, Way::Task(8), Way::Random]),
        of(2, &[Way::Threshold(0.2), Way::SparseMixer]),
        of(1, &[Way::Chosen(1.0), Way::Chosen(2.0), Way::Chosen(4.0), Way::Sinkhorn(8), Way::Base]),
    ]
    .concat()
}
