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
}

impl WeightPlan {
    /// Reads a plan: `{"schema": 1, "linear": "int8:planes", "block_widths": {"0": 2, "5": 2}}`. `experts` are stored as
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
        let widths = file.block_widths.into_iter().map(|(block, bits)| {
            let width = Width::ALL.into_iter().find(|width| width.bits() == bits);
            width.map(|width| (block, width)).ok_or_else(|| Error::Unsupported {
                what: format!("{name}: {bits} bits in block {block}"),
                why: "widths are 1 to 8".into(),
            })
        });
        let block_widths = widths.collect::<Result<BTreeMap<_, _>>>()?;
        if !block_widths.is_empty() && !matches!(linear, WeightFormat::Int(_)) {
            return Err(Error::format(
                name,
                format!("block_widths of {linear} weights, which have one width"),
            ));
        }
        let (experts, embedding) = (or(file.experts, linear)?, or(file.embedding, uniform.embedding)?);
        Ok(Self { linear, experts, embedding, block_widths })
    }

    /// The same as JSON.
    pub fn to_json(&self) -> String {
        let file = PlanFile {
            schema: 1,
            linear: self.linear.to_string(),
            experts: Some(self.experts.to_string()),
            embedding: Some(self.embedding.to_string()),
            block_widths: self.block_widths.iter().map(|(block, width)| (*block, width.bits())).collect(),
        };
        // Strings and numbers always serialize.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }
}
