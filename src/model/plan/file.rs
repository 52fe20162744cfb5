//! Plans as JSON files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::WeightPlan;
use crate::quant::{WeightFormat, Width};
use crate::{Error, Result};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    schema: u32,
    linear: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    experts: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    embedding: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    block_widths: BTreeMap<usize, u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    expert_widths: BTreeMap<usize, BTreeMap<usize, u32>>,
}

impl WeightPlan {
    /// Reads a plan: `{"schema": 1, "linear": "int8:planes", "block_widths": {"0": 2, "5": 2}}`. With `"expert_widths":
    /// {"3": {"0": 2, "7": 8}}`, experts 0 and 7 of block 3 have other widths than their block. `experts` are stored as
    /// `linear` unless they have a format of their own, and `embedding` as in [`WeightPlan::uniform`].
    ///
    /// # Errors
    /// [`Error::Format`] for what is no plan; [`Error::Unsupported`] for a format or a width that nothing reads.
    pub fn from_json(name: &str, text: &str) -> Result<Self> {
        let file: PlanFile = serde_json::from_str(text).map_err(|error| Error::format(name, error))?;
        if file.schema != 1 {
            return Err(Error::format(name, format!("schema {} is not 1", file.schema)));
        }
        let linear: WeightFormat = file.linear.parse()?;
        let or = |text: Option<String>, or: WeightFormat| text.map_or(Ok(or), |text| text.parse());
        let uniform = Self::uniform(linear);
        let (experts, embedding) = (or(file.experts, linear)?, or(file.embedding, uniform.embedding)?);
        let block_widths = widths(name, file.block_widths, |block| format!("block {block}"))?;
        let of_block = |(block, experts)| {
            let widths = widths(name, experts, |expert| format!("expert {expert} of block {block}"));
            widths.map(|widths| (block, widths))
        };
        let expert_widths =
            file.expert_widths.into_iter().map(of_block).collect::<Result<BTreeMap<_, _>>>()?;
        for (what, format, is_empty) in [
            ("block_widths", linear, block_widths.is_empty()),
            ("expert_widths", experts, expert_widths.is_empty()),
        ] {
            if !is_empty && !matches!(format, WeightFormat::Int(_)) {
                return Err(Error::format(name, format!("{what} of {format} weights, which have one width")));
            }
        }
        Ok(Self { linear, experts, embedding, block_widths, expert_widths })
    }

    /// The same as JSON.
    pub fn to_json(&self) -> String {
        let file = PlanFile {
            schema: 1,
            linear: self.linear.to_string(),
            experts: Some(self.experts.to_string()),
            embedding: Some(self.embedding.to_string()),
            block_widths: bits(&self.block_widths),
            expert_widths: self.expert_widths.iter().map(|(block, widths)| (*block, bits(widths))).collect(),
        };
        // Strings and numbers always serialize.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }
}

/// Widths by number, from bits by number; `of` says whose they are.
fn widths(
    name: &str,
    bits: BTreeMap<usize, u32>,
    of: impl Fn(usize) -> String,
) -> Result<BTreeMap<usize, Width>> {
    let width = |(number, bits)| {
        let width = Width::ALL.into_iter().find(|width| width.bits() == bits);
        width.map(|width| (number, width)).ok_or_else(|| Error::Unsupported {
            what: format!("{name}: {bits} bits in {}", of(number)),
            why: "widths are 1 to 8".into(),
        })
    };
    bits.into_iter().map(width).collect()
}

fn bits(widths: &BTreeMap<usize, Width>) -> BTreeMap<usize, u32> {
    widths.iter().map(|(number, width)| (*number, width.bits())).collect()
}
