//! Products in a row: the same input with weights in other memory each time.

use burn_tensor::{Device, Tensor};

use super::Result;
use super::work::{Layout, Store, Way, Work, floats, quickest, read, stored, write};

struct Products {
    store: Store,
    x: Tensor<2>,
    weights: Vec<Tensor<2>>,
}

/// Reads `x.f32`, `[rows, inputs]`, and `w.f32`, `[outputs, inputs]`.
pub fn prepare(
    device: &Device,
    format: &str,
    copies: usize,
    [rows, outputs, inputs]: [usize; 3],
) -> Result<Box<dyn Work>> {
    let with = |layout| -> Result<Box<dyn Work>> {
        let store = Store::new(device, format, layout)?;
        let values = read("w.f32")?;
        let weights = (0..copies).map(|_| store.weights(&values, [outputs, inputs])).collect();
        let x = store.floats(read("x.f32")?, [rows, inputs]);
        Ok(Box::new(Products { store, x, weights }))
    };
    quickest(&Layout::BOTH.map(|layout| Box::new(move || with(layout)) as Way))
}

impl Work for Products {
    fn device(&self) -> &Device {
        &self.store.device
    }

    fn submit(&self) -> Result<()> {
        for weights in &self.weights {
            drop(self.x.clone().matmul(weights.clone()));
        }
        Ok(())
    }

    fn note(&self) -> String {
        self.store.note()
    }

    fn write(&self) -> Result<()> {
        let weights = self.weights.first().ok_or("no weights")?;
        write("y.f32", &floats(self.x.clone().matmul(weights.clone()))?)?;
        write("stored.f32", &stored(weights)?)
    }
}
