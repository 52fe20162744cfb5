//! What a block costs, asked once.

use std::collections::HashMap;

use wattle::model::config::ModelConfig;

use super::shape::{Shape, Size};
use super::space::Block;

/// An error ends the search, with one message for a person.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What a step of a model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Milliseconds.
    pub ms: f64,
    /// Bytes that the ledger counts, each once.
    pub bytes: u64,
    /// Operations that the ledger counts, those of partly empty tiles included.
    pub ops: u64,
}

/// Says what a step takes.
pub trait Meter {
    /// A step over the tokens of the model's context.
    ///
    /// # Errors
    /// Those of laying out, loading and running a model.
    fn step(&mut self, config: &ModelConfig) -> Result<Step>;
}

/// A block and what it costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The block.
    pub block: Block,
    /// A step of its model.
    pub step: Step,
    /// Its model's parameters.
    pub size: Size,
}

/// A meter that remembers, so that every search finds the same block at the same cost.
pub struct Oracle<M> {
    /// What models share.
    pub shape: Shape,
    meter: M,
    known: HashMap<Block, Candidate>,
    confirmed: HashMap<Block, Step>,
}

impl<M: Meter> Oracle<M> {
    /// One that knows nothing yet.
    pub fn new(shape: Shape, meter: M) -> Self {
        Self { shape, meter, known: HashMap::new(), confirmed: HashMap::new() }
    }

    /// What a block costs.
    ///
    /// # Errors
    /// Those of [`Meter::step`].
    pub fn ask(&mut self, block: &Block) -> Result<Candidate> {
        if let Some(known) = self.known.get(block) {
            return Ok(*known);
        }
        let (step, size) = (self.again(block)?, self.shape.size(block));
        let candidate = Candidate { block: *block, step, size };
        self.known.insert(*block, candidate);
        Ok(candidate)
    }

    /// What a block costs the second time, remembered too, so that searches which found the same block are judged alike.
    ///
    /// # Errors
    /// Those of [`Meter::step`].
    pub fn confirm(&mut self, block: &Block) -> Result<Step> {
        if let Some(step) = self.confirmed.get(block) {
            return Ok(*step);
        }
        let step = self.again(block)?;
        self.confirmed.insert(*block, step);
        Ok(step)
    }

    /// What a block costs when it is measured once more.
    ///
    /// # Errors
    /// Those of [`Meter::step`].
    pub fn again(&mut self, block: &Block) -> Result<Step> {
        self.meter.step(&self.shape.model(block))
    }

    /// Every block asked for so far, in no order.
    pub fn known(&self) -> impl Iterator<Item = &Candidate> {
        self.known.values()
    }
}

impl Candidate {
    /// What stands in for quality: [`Size::proxy`].
    pub fn proxy(&self) -> f64 {
        self.size.proxy()
    }
}
