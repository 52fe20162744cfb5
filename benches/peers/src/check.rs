//! Whether a result is right: some of it beside the same in f64.

mod attention;
mod layer;
mod product;

use std::fs;
use std::path::Path;

use wattle::quant::WeightFormat;

use crate::heads::Shape as Heads;
use crate::layer::Layer;
use crate::routes::Routes;
use crate::shapes::Shape;
use crate::support::Result;

/// What is computed, and with which numbers.
pub struct Numbers {
    pub task: Task,
    /// `[rows, inputs]`; of attention queries, `[sequences, rows, heads, width]`.
    pub x: Vec<f32>,
    /// `[outputs, inputs]`; of experts all gates, all ups, all downs; of attention keys, then values, `[tokens, kv_heads, width]`,
    /// the same for every sequence.
    pub weights: Vec<f32>,
}

/// A product, attention, or a layer of experts.
pub enum Task {
    Product(Shape),
    Attention(Heads),
    Experts(Layer, Routes),
}

/// What somebody has computed.
pub struct Found {
    /// `[rows, outputs]`, or like the queries.
    pub y: Vec<f32>,
    /// The experts of each token, in any order.
    pub routes: Vec<u32>,
}

/// Errors that are allowed.
pub struct Allowed {
    pub ours: f64,
    pub peers: f64,
}

impl Numbers {
    /// Writes them where a peer reads them.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let write = |file: &str, values: &[f32]| fs::write(folder.join(file), bytemuck::cast_slice(values));
        write("x.f32", &self.x)?;
        write("w.f32", &self.weights)?;
        if let Task::Experts(_, routes) = &self.task {
            write("router.f32", &routes.router)?;
        }
        Ok(())
    }

    /// What a peer has left there, and the weights as it has them stored.
    pub fn read(&self, folder: &Path) -> Result<(Found, Vec<f32>)> {
        let routes = match self.task {
            Task::Product(_) | Task::Attention(_) => Vec::new(),
            Task::Experts(..) => read(&folder.join("routes.u32"))?,
        };
        Ok((Found { y: read(&folder.join("y.f32"))?, routes }, read(&folder.join("stored.f32"))?))
    }

    /// How wrong a result is, with these weights in place of the original ones: see [`product::error`],
    /// [`attention::error`], [`layer::error`].
    pub fn error(&self, weights: &[f32], found: &Found) -> Result<f64> {
        if weights.len() != self.weights.len() {
            return Err("there are other weights".into());
        }
        match &self.task {
            Task::Product(shape) => product::error(*shape, (&self.x, weights), &found.y),
            Task::Attention(shape) => attention::error(*shape, (&self.x, weights), &found.y),
            Task::Experts(layer, routes) => {
                routes.check(*layer, &found.routes)?;
                layer::error(*layer, routes, (&self.x, weights), &found.y)
            }
        }
    }

    pub fn allowed(&self) -> Allowed {
        match self.task {
            Task::Product(_) => product::ALLOWED,
            Task::Attention(_) => attention::ALLOWED,
            Task::Experts(..) => layer::ALLOWED,
        }
    }

    /// Root of the mean square of what storing changed, as a share of that of the original.
    pub fn rounding(&self, stored: &[f32]) -> f64 {
        let square =
            |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>();
        let difference = square(&mut self.weights.iter().zip(stored).map(|(a, b)| a - b));
        (difference / square(&mut self.weights.iter().copied())).sqrt()
    }
}

/// The rounding allowed of weights that are stored in a format.
pub fn allowed_rounding(format: WeightFormat) -> f64 {
    match &*format.to_string() {
        "f32" => 0.0,
        "f16" => 1e-3,
        "int8" => 0.02,
        "int4" => 0.2,
        _ => 0.7,
    }
}

fn read<T: bytemuck::Pod>(file: &Path) -> Result<Vec<T>> {
    Ok(bytemuck::pod_collect_to_vec(&fs::read(file)?))
}
