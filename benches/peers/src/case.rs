//! What is compared: products, attention, or layers of experts.

use std::time::Duration;

use wattle::Gpu;
use wattle::fragments::CacheFormat;
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;

use crate::TURNS;
use crate::attention;
use crate::copies::{copies, rotated};
use crate::heads::{self, Shape as Heads};
use crate::layer::{self, Layer};
use crate::ours::{self, Ours, experts, products};
use crate::shapes::{self, ROWS, Shape};
use crate::support::Result;
use crate::support::roof::Roof;

/// What a table is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Products,
    Attention,
    Experts,
}

/// One of a table.
#[derive(Clone, Copy)]
pub enum Case {
    Product(Shape),
    Attention(attention::case::Case),
    Experts(Layer),
}

impl Kind {
    /// Small ones, or those of models.
    pub fn cases(self, models: bool) -> Vec<Case> {
        match self {
            Self::Products => {
                let shapes = shapes::shapes(if models { &shapes::MODELS } else { &shapes::SMALL }, &ROWS);
                shapes.into_iter().map(Case::Product).collect()
            }
            Self::Attention => heads::all(models).into_iter().map(Case::Attention).collect(),
            Self::Experts => {
                let layers = Layer::all(if models { &layer::MODELS } else { &layer::SMALL });
                layers.into_iter().map(Case::Experts).collect()
            }
        }
    }

    /// As somebody writes it.
    pub fn parse(self, text: &str) -> Result<Case, String> {
        match self {
            Self::Products => shapes::parse(text).map(Case::Product),
            Self::Attention => heads::parse(text).map(Case::Attention),
            Self::Experts => Layer::parse(text).map(Case::Experts),
        }
    }

    /// What [`Case::title`] tells.
    pub fn column(self) -> &'static str {
        match self {
            Self::Products => "rows x outputs x inputs",
            Self::Attention => "tokens, heads",
            Self::Experts => "tokens, experts, widths",
        }
    }

    /// Formats of weights, or of keys and values, that are compared unless others are asked for.
    pub fn formats(self) -> &'static str {
        match self {
            Self::Products | Self::Experts => "f32,f16,int8,int4,int2",
            Self::Attention => "f32,f16,int8",
        }
    }
}

impl Case {
    /// For people.
    pub fn title(self) -> String {
        match self {
            Self::Product(shape) => shapes::title(shape),
            Self::Attention(case) => Heads::of(case).title(),
            Self::Experts(layer) => layer.title(),
        }
    }

    /// What a peer is asked for.
    pub fn request(self, format: WeightFormat, copies: u32) -> String {
        match self {
            Self::Product([rows, outputs, inputs]) => {
                format!("product {format} {copies} {rows} {outputs} {inputs}")
            }
            Self::Attention(case) => {
                let Heads { sequences, rows, tokens, heads, kv_heads, width, window } = Heads::of(case);
                format!(
                    "attention {format} {copies} {sequences} {rows} {tokens} {heads} {kv_heads} {width} {window}"
                )
            }
            Self::Experts(Layer { tokens, width, hidden, experts, choices }) => {
                format!("experts {format} {copies} {tokens} {width} {hidden} {experts} {choices}")
            }
        }
    }

    /// How many copies of the weights to go through, or a reason not to. Where there are many rows, reading the weights is a
    /// small part of the time, and where they come from a smaller one.
    pub fn copies(
        self,
        gpu: &Gpu,
        roof: &Roof,
        format: WeightFormat,
        longest: Option<Duration>,
    ) -> Result<u32, String> {
        let runs = TURNS as u32;
        match self {
            Self::Product(shape) => {
                let runs = (runs, 1, shape[0].div_ceil(16), longest);
                copies(gpu, roof, format, shape, ProductPath::Matrix, runs)
            }
            Self::Attention(case) => {
                let case = stored_as(case, format)?;
                attention::layer::copies(gpu, roof, &case, rotated(gpu), (runs, longest))
            }
            Self::Experts(layer) => experts::copies(gpu, roof, format, layer, (runs, longest)),
        }
    }

    /// Wattle's side.
    pub fn prepare(self, gpu: &Gpu, format: WeightFormat, copies: u32) -> Result<Ours> {
        match self {
            Self::Product(shape) => products::prepare(gpu, format, shape, copies),
            Self::Attention(case) => ours::attention::prepare(gpu, &stored_as(case, format)?, copies),
            Self::Experts(layer) => experts::prepare(gpu, format, layer, copies),
        }
    }
}

/// With keys and values in the format of a cache that has the name of one of weights.
fn stored_as(case: attention::case::Case, format: WeightFormat) -> Result<attention::case::Case, String> {
    let cache: Result<CacheFormat, _> = format.to_string().parse();
    let cache = cache.map_err(|_| format!("keys and values are not stored as {format}"))?;
    Ok(attention::case::Case { cache, ..case })
}
