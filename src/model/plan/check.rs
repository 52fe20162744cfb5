//! Whether a plan is one for a model.

use super::WeightPlan;
use crate::model::config::{ModelConfig, Op};
use crate::model::slot::Stack;
use crate::quant::WeightFormat;
use crate::{Error, Result};

impl WeightPlan {
    /// Refuses formats that nothing reads, and widths of blocks or experts that the model does not have.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<()> {
        for format in [self.linear, self.experts, self.embedding] {
            format.validate()?;
        }
        let blocks = config.blocks.len();
        let given = self.block_widths.keys().chain(self.expert_widths.keys());
        if let Some(block) = given.max().filter(|block| **block >= blocks) {
            let why = format!("'{}' has {blocks} blocks, counted from 0", config.name);
            return Err(unsupported(format!("a width for block {block}"), why));
        }
        self.expert_widths.keys().try_for_each(|block| self.check_experts(config, *block))
    }

    fn check_experts(&self, config: &ModelConfig, block: usize) -> Result<()> {
        let what = |which: &str| format!("a width for {which} of block {block}");
        if !matches!(self.experts, WeightFormat::Int(_)) {
            return Err(unsupported(what("an expert"), format!("{} experts have one width", self.experts)));
        }
        let counts = config.ops_of(Stack::Decoder).filter_map(|(place, op)| match op {
            Op::Experts(experts) if place.at().is_some_and(|at| at.block == block) => {
                Some(experts.count as usize)
            }
            _ => None,
        });
        let Some(count) = counts.min() else {
            return Err(unsupported(what("an expert"), "it has none".into()));
        };
        match self.expert_widths[&block].keys().next_back() {
            Some(last) if *last >= count => {
                let why = format!("it has {count} experts, counted from 0");
                Err(unsupported(what(&format!("expert {last}")), why))
            }
            _ => Ok(()),
        }
    }
}

fn unsupported(what: String, why: String) -> Error {
    Error::Unsupported { what, why }
}
