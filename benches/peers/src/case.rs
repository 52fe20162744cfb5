//! What is compared: a product, or a layer of experts.

use std::time::Duration;

use wattle::Gpu;
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;

use crate::TURNS;
use crate::copies::copies;
use crate::layer::{self, Layer};
use crate::ours::{Ours, experts, products};
use crate::shapes::{self, ROWS, Shape};
use crate::support::Result;
use crate::support::roof::Roof;

/// One of either.
#[derive(Clone, Copy)]
pub enum Case {
    Product(Shape),
    Experts(Layer),
}

impl Case {
    /// Small ones, or those of models.
    pub fn all(experts: bool, models: bool) -> Vec<Self> {
        match experts {
            true => {
                let layers = Layer::all(if models { &layer::MODELS } else { &layer::SMALL });
                layers.into_iter().map(Self::Experts).collect()
            }
            false => {
                let shapes = shapes::shapes(if models { &shapes::MODELS } else { &shapes::SMALL }, &ROWS);
                shapes.into_iter().map(Self::Product).collect()
            }
        }
    }

    /// As somebody writes it.
    pub fn parse(experts: bool, text: &str) -> Result<Self, String> {
        if experts { Layer::parse(text).map(Self::Experts) } else { shapes::parse(text).map(Self::Product) }
    }

    /// For people.
    pub fn title(self) -> String {
        match self {
            Self::Product(shape) => shapes::title(shape),
            Self::Experts(layer) => layer.title(),
        }
    }

    /// What [`Case::title`] tells.
    pub fn column(experts: bool) -> &'static str {
        if experts { "tokens, experts, widths" } else { "rows x outputs x inputs" }
    }

    /// What a peer is asked for.
    pub fn request(self, format: WeightFormat, copies: u32) -> String {
        match self {
            Self::Product([rows, outputs, inputs]) => {
                format!("product {format} {copies} {rows} {outputs} {inputs}")
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
            Self::Experts(layer) => experts::copies(gpu, roof, format, layer, (runs, longest)),
        }
    }

    /// Wattle's side.
    pub fn prepare(self, gpu: &Gpu, format: WeightFormat, copies: u32) -> Result<Ours> {
        match self {
            Self::Product(shape) => products::prepare(gpu, format, shape, copies),
            Self::Experts(layer) => experts::prepare(gpu, format, layer, copies),
        }
    }
}
