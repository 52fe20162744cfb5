//! Whether the numbers of a description fit together, and whether kernels can take them.

use std::fmt::Display;

use super::{Attention, Experts, FeedForward, ModelConfig, Norm, NormKind, Op, Rope, RopeScaling, SubLayer};
use crate::kernels::attention::MAX_HEAD_DIM;
use crate::kernels::moe_scan::MAX_EXPERTS;
use crate::kernels::sample_best::MAX_VOCAB;
use crate::{Error, Result};

impl ModelConfig {
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// [`Error::Config`] that names the first key that does not.
    pub fn validate(&self) -> Result<()> {
        at_most("vocab_size", MAX_VOCAB, self.vocab_size)?;
        positive("hidden_size", self.hidden_size)?;
        positive("context_length", self.context_length)?;
        finite("embedding_scale", self.embedding_scale)?;
        self.final_norm.validate("final_norm")?;
        if let Some(cap) = self.head.softcap {
            positive_number("head.softcap", cap)?;
        }
        if self.blocks.is_empty() {
            return Err(Error::config("blocks", "at least one block", 0));
        }
        for (b, block) in self.blocks.iter().enumerate() {
            if block.sublayers.is_empty() {
                return Err(Error::config(format!("blocks[{b}].sublayers"), "at least one sub-layer", 0));
            }
            for (s, sublayer) in block.sublayers.iter().enumerate() {
                sublayer.validate(&format!("blocks[{b}].sublayers[{s}]"), self.hidden_size)?;
            }
        }
        Ok(())
    }
}

impl SubLayer {
    fn validate(&self, at: &str, hidden_size: u32) -> Result<()> {
        self.norm.validate(&format!("{at}.norm"))?;
        if let Some(norm) = self.post_norm {
            norm.validate(&format!("{at}.post_norm"))?;
        }
        match &self.op {
            Op::Attention(attention) => attention.validate(&format!("{at}.attention")),
            Op::FeedForward(ffn) => ffn.validate(&format!("{at}.feed_forward")),
            Op::Experts(experts) => experts.validate(&format!("{at}.experts"), hidden_size),
        }
    }
}

impl Norm {
    fn validate(&self, at: &str) -> Result<()> {
        positive_number(&format!("{at}.eps"), self.eps)
    }
}

impl Attention {
    fn validate(&self, at: &str) -> Result<()> {
        positive(&format!("{at}.heads"), self.heads)?;
        positive(&format!("{at}.kv_heads"), self.kv_heads)?;
        at_most(&format!("{at}.head_dim"), MAX_HEAD_DIM, self.head_dim)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            let expected = format!("a divisor of the {} query heads", self.heads);
            return Err(Error::config(format!("{at}.kv_heads"), expected, self.kv_heads));
        }
        let rows = (u64::from(self.heads) + 2 * u64::from(self.kv_heads)) * u64::from(self.head_dim);
        if u32::try_from(rows).is_err() {
            return Err(Error::config(format!("{at}.heads"), "Q, K and V of fewer than 2^32 rows", rows));
        }
        finite(&format!("{at}.scale"), self.scale)?;
        if self.window == Some(0) {
            return Err(Error::config(format!("{at}.window"), "at least 1", 0));
        }
        if let Some(cap) = self.softcap {
            positive_number(&format!("{at}.softcap"), cap)?;
        }
        if let Some(norm) = self.qk_norm {
            norm.validate(&format!("{at}.qk_norm"))?;
            if !matches!(norm.kind, NormKind::Rms | NormKind::RmsUnitOffset) {
                let found = format!("{:?}", norm.kind);
                return Err(Error::config(format!("{at}.qk_norm.kind"), "rms or rms_unit_offset", found));
            }
        }
        match self.rope {
            Some(rope) => rope.validate(&format!("{at}.rope"), self.head_dim),
            None => Ok(()),
        }
    }
}

impl Rope {
    fn validate(&self, at: &str, head_dim: u32) -> Result<()> {
        if !self.rotary_dim.is_multiple_of(2) || self.rotary_dim == 0 || self.rotary_dim > head_dim {
            let expected = format!("an even number from 2 to the head's {head_dim}");
            return Err(Error::config(format!("{at}.rotary_dim"), expected, self.rotary_dim));
        }
        positive_number(&format!("{at}.theta"), self.theta)?;
        let factor = match self.scaling {
            RopeScaling::None => 1.0,
            RopeScaling::Linear { factor } => factor,
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                if !(low_freq_factor > 0.0 && high_freq_factor > low_freq_factor) || original_context == 0 {
                    let found = format!("{low_freq_factor}, {high_freq_factor}, {original_context}");
                    return Err(Error::config(
                        format!("{at}.scaling"),
                        "0 < low_freq_factor < high_freq_factor and a positive original context",
                        found,
                    ));
                }
                factor
            }
        };
        positive_number(&format!("{at}.scaling.factor"), factor)
    }
}

impl FeedForward {
    fn validate(&self, at: &str) -> Result<()> {
        let key = format!("{at}.hidden");
        positive(&key, self.hidden)?;
        count(&key, "rows of the matrix into it", [self.up_rows(), 1])
    }

    /// Rows of the matrix into it: `2 f` when gated, else `f`.
    fn up_rows(self) -> u64 {
        u64::from(self.hidden) * if self.gated { 2 } else { 1 }
    }
}

impl Experts {
    fn validate(&self, at: &str, hidden_size: u32) -> Result<()> {
        at_most(&format!("{at}.count"), MAX_EXPERTS, self.count)?;
        if self.top_k == 0 || self.top_k > self.count {
            let expected = format!("1 to the {} experts", self.count);
            return Err(Error::config(format!("{at}.top_k"), expected, self.top_k));
        }
        self.expert.validate(&format!("{at}.expert"))?;
        let (into, out) = (self.expert.up_rows(), u64::from(hidden_size));
        let (experts, choices) = (u64::from(self.count), u64::from(self.top_k));
        count(&format!("{at}.count"), "rows of all experts' matrices", [experts, into.max(out)])?;
        count(&format!("{at}.top_k"), "outputs of a token's experts", [choices, into.max(out)])
    }
}

fn finite(key: &str, value: f32) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(Error::config(key, "a finite number", value)) }
}

fn positive(key: &str, value: u32) -> Result<()> {
    if value > 0 { Ok(()) } else { Err(Error::config(key, "a positive number", value)) }
}

fn at_most(key: &str, most: u32, value: u32) -> Result<()> {
    let holds = (1..=most).contains(&value);
    if holds { Ok(()) } else { Err(Error::config(key, format!("1 to {most}"), value)) }
}

/// Refuses a product that layouts and passes could not count in `u32`.
fn count(key: &str, what: &str, [a, b]: [u64; 2]) -> Result<()> {
    let product = a.saturating_mul(b);
    let fits = u32::try_from(product).is_ok();
    if fits { Ok(()) } else { Err(Error::config(key, format!("fewer than 2^32 {what}"), product)) }
}

fn positive_number(key: &str, value: impl Into<f64> + Copy + Display) -> Result<()> {
    let number = value.into();
    let holds = number.is_finite() && number > 0.0;
    if holds { Ok(()) } else { Err(Error::config(key, "a positive number", value)) }
}
