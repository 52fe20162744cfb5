//! Plans by name: one format, a pyramid, or as good as a number of bytes allows.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{WeightPlan, at_width};
use crate::gpu::Capabilities;
use crate::model::config::ModelConfig;
use crate::model::layout::Layout;
use crate::quant::{IntFormat, WeightFormat, Width};
use crate::{Error, Result};

/// A plan that is known once the model is.
///
/// As text: a format; `pyramid`; or a number of bytes with a unit, `900KiB`, `24MiB`, `3GiB`. The suffixes of integer
/// formats may follow the last two: `pyramid:planes`, `24MiB:channel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanName {
    /// One format for all.
    Uniform(WeightFormat),
    /// 2 bits at both ends, then 4, and 8 in the middle, by thirds of the way from an end to the middle; the head as the
    /// middle (arXiv 2502.06786, section 4.3).
    Pyramid(IntFormat),
    /// The most bits of which a decode step reads at most so many bytes of weights, spread from the ends to the middle.
    Bytes(u64, IntFormat),
}

/// The widths that budgets choose from, widest first.
const CHOICES: [Width; 5] = [Width::Int8, Width::Int6, Width::Int4, Width::Int3, Width::Int2];

impl PlanName {
    /// The plan for a model.
    ///
    /// # Errors
    /// [`Error::Memory`] where 2 bits take more than the budget.
    pub fn plan(self, config: &ModelConfig) -> Result<WeightPlan> {
        match self {
            Self::Uniform(format) => Ok(WeightPlan::uniform(format)),
            Self::Pyramid(int) => Ok(with_widths(int, pyramid(config.blocks.len()))),
            Self::Bytes(budget, int) => within(config, int, budget),
        }
    }
}

/// Integer formats with a width for each block; matrices of no block have the widest.
fn with_widths(int: IntFormat, widths: Vec<Width>) -> WeightPlan {
    let widest = widths.iter().copied().max().unwrap_or(Width::Int8);
    let format = WeightFormat::Int(at_width(int, widest));
    let block_widths: BTreeMap<_, _> = widths.into_iter().enumerate().collect();
    WeightPlan { block_widths, ..WeightPlan::uniform(format) }
}

/// How far a block is from the nearer end, 0 to 1.
fn height(block: usize, blocks: usize) -> f64 {
    let from_end = block.min(blocks - 1 - block) as f64;
    (from_end + 0.5) / blocks.div_ceil(2) as f64
}

fn pyramid(blocks: usize) -> Vec<Width> {
    let steps = [Width::Int2, Width::Int4, Width::Int8];
    (0..blocks).map(|block| steps[(3.0 * height(block, blocks)) as usize]).collect()
}

/// Lowers one block at a time by a step, always the one with the most bits for its height, until the budget holds.
fn within(config: &ModelConfig, int: IntFormat, budget: u64) -> Result<WeightPlan> {
    let blocks = config.blocks.len();
    let mut steps = vec![0; blocks];
    loop {
        let plan = with_widths(int, steps.iter().map(|step| CHOICES[*step]).collect());
        let layout = Layout::new(config, &plan, &Capabilities::unlimited())?;
        let needed_bytes = layout.bytes_read_per_step();
        if needed_bytes <= budget {
            return Ok(plan);
        }
        let surplus = |block: usize| f64::from(CHOICES[steps[block]].bits()) - 6.0 * height(block, blocks);
        let next = (0..blocks)
            .rev()
            .filter(|block| steps[*block] + 1 < CHOICES.len())
            .max_by(|a, b| surplus(*a).total_cmp(&surplus(*b)));
        let Some(block) = next else {
            let what = format!("a step of '{}' at 2 bits", config.name);
            return Err(Error::Memory { what, needed_bytes, available_bytes: budget });
        };
        steps[block] += 1;
    }
}

impl FromStr for PlanName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, suffixes) = text.split_at(text.find(':').unwrap_or(text.len()));
        let int = || match format!("{}{suffixes}", Width::Int8).parse()? {
            WeightFormat::Int(int) => Ok(int),
            WeightFormat::F32 | WeightFormat::F16 => Err(unknown(text)),
        };
        if name == "pyramid" {
            return Ok(Self::Pyramid(int()?));
        }
        for (unit, bytes) in [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1u64 << 30)] {
            if let Some(number) = name.strip_suffix(unit) {
                let budget = number.parse().ok().and_then(|number: u64| number.checked_mul(bytes));
                return Ok(Self::Bytes(budget.ok_or_else(|| unknown(text))?, int()?));
            }
        }
        text.parse().map(Self::Uniform).map_err(|_| unknown(text))
    }
}

#[cfg(feature = "files")]
impl WeightPlan {
    /// The plan that a command line asks for: a [`PlanName`], or a file of [`WeightPlan::from_json`] that ends in `.json`.
    ///
    /// # Errors
    /// [`Error::Io`], and those of reading either.
    pub fn choose(text: &str, config: &ModelConfig) -> Result<Self> {
        if !text.ends_with(".json") {
            return text.parse::<PlanName>()?.plan(config);
        }
        let json = std::fs::read_to_string(text).map_err(|source| Error::Io { path: text.into(), source })?;
        Self::from_json(text, &json)
    }
}

fn unknown(text: &str) -> Error {
    let why = "plans are a format (f32, f16, int8 to int1), pyramid, or bytes such as 24MiB; integer formats take :64, \
               :128, :channel, :parent, :planes, :ep, :f16";
    Error::Unsupported { what: format!("weights '{text}'"), why: why.to_owned() }
}

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffixes = |int: &IntFormat| {
            let text = WeightFormat::Int(at_width(*int, Width::Int8)).to_string();
            text.find(':').map_or_else(String::new, |at| text[at..].to_owned())
        };
        match self {
            Self::Uniform(format) => format.fmt(f),
            Self::Pyramid(int) => write!(f, "pyramid{}", suffixes(int)),
            Self::Bytes(bytes, int) => write!(f, "{}KiB{}", bytes / 1024, suffixes(int)),
        }
    }
}
