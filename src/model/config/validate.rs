//! Whether the numbers of a description fit together, and whether kernels can take them.

mod encoder;
mod experts;

use std::fmt::Display;

use super::{
    Activation, Attention, Block, FeedForward, ModelConfig, Norm, NormKind, Op, Rope, RopeScaling, SubLayer,
};
use crate::kernels::attention::MAX_HEAD_DIM;
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
        if self.head.tied && self.head.bias {
            return Err(Error::config("head.bias", "none of a head that is the embedding", true));
        }
        if let Some(scale) = self.head.scale {
            finite("head.scale", scale)?;
        }
        if let Some(cap) = self.head.softcap {
            positive_number("head.softcap", cap)?;
        }
        if self.blocks.is_empty() {
            return Err(Error::config("blocks", "at least one block", 0));
        }
        validate_blocks(&self.blocks, "", self.hidden_size)?;
        self.validate_stacks()
    }
}

fn validate_blocks(blocks: &[Block], at: &str, hidden_size: u32) -> Result<()> {
    for (b, block) in blocks.iter().enumerate() {
        if block.sublayers.is_empty() {
            let key = format!("{at}blocks[{b}].sublayers");
            return Err(Error::config(key, "at least one sub-layer", 0));
        }
        for (s, sublayer) in block.sublayers.iter().enumerate() {
            sublayer.validate(&format!("{at}blocks[{b}].sublayers[{s}]"), hidden_size)?;
        }
    }
    Ok(())
}

impl SubLayer {
    fn validate(&self, at: &str, hidden_size: u32) -> Result<()> {
        for (norm, name) in [(self.norm, "norm"), (self.post_norm, "post_norm")] {
            norm.map_or(Ok(()), |norm| norm.validate(&format!("{at}.{name}")))?;
        }
        if self.output_scale && self.post_norm.is_none() {
            let expected = "none where there is no post_norm";
            return Err(Error::config(format!("{at}.output_scale"), expected, true));
        }
        let hidden_size = self.width.unwrap_or(hidden_size);
        if let Some(width) = self.width {
            positive(&format!("{at}.width"), width)?;
            if self.op.reads_encoder() {
                let expected = "none of cross-attention, which reads the encoder at the model's width";
                return Err(Error::config(format!("{at}.width"), expected, width));
            }
        }
        match &self.op {
            Op::Attention(attention) => attention.validate(&format!("{at}.attention")),
            Op::FeedForward(ffn) => ffn.validate(&format!("{at}.feed_forward")),
            Op::Experts(experts) => experts.validate(&format!("{at}.experts"), hidden_size),
            Op::CrossAttention(attention) => attention.validate_across(&format!("{at}.cross_attention")),
            Op::Parallel(branches) => parallel(branches, &format!("{at}.parallel"), hidden_size),
        }
    }
}

impl Op {
    fn reads_encoder(&self) -> bool {
        match self {
            Self::CrossAttention(_) => true,
            Self::Parallel(branches) => branches.iter().any(|branch| branch.op.reads_encoder()),
            Self::Attention(_) | Self::FeedForward(_) | Self::Experts(_) => false,
        }
    }
}

fn parallel(branches: &[SubLayer], at: &str, hidden_size: u32) -> Result<()> {
    if branches.is_empty() {
        return Err(Error::config(at, "at least one branch", 0));
    }
    for (n, branch) in branches.iter().enumerate() {
        let at = format!("{at}[{n}]");
        if matches!(branch.op, Op::Parallel(_)) {
            return Err(Error::config(at, "a branch without branches of its own", "parallel"));
        }
        if branch.output_scale {
            return Err(Error::config(format!("{at}.output_scale"), "none in a branch", true));
        }
        branch.validate(&at, hidden_size)?;
    }
    Ok(())
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
        for (reach, name) in [(self.window, "window"), (self.chunk, "chunk")] {
            if reach == Some(0) {
                return Err(Error::config(format!("{at}.{name}"), "at least 1", 0));
            }
        }
        if self.window.is_some() && self.chunk.is_some() {
            return Err(Error::config(format!("{at}.chunk"), "none beside a window", "both"));
        }
        if let Some(clip) = self.qkv_clip {
            positive_number(&format!("{at}.qkv_clip"), clip)?;
        }
        if let Some(temperature) = self.temperature {
            finite(&format!("{at}.temperature.scale"), temperature.scale)?;
            positive(&format!("{at}.temperature.floor"), temperature.floor)?;
        }
        let of_heads = self.qk_norm.is_some() && !self.qk_norm_of_all_heads;
        if self.v_norm && !of_heads {
            let expected = "none but beside a norm of each head of Q and K";
            return Err(Error::config(format!("{at}.v_norm"), expected, true));
        }
        if let Some(cap) = self.softcap {
            positive_number(&format!("{at}.softcap"), cap)?;
        }
        if let Some(norm) = self.qk_norm {
            norm.validate(&format!("{at}.qk_norm"))?;
            if !matches!(norm.kind, NormKind::Rms | NormKind::RmsUnitOffset | NormKind::RmsUnweighted) {
                let found = format!("{:?}", norm.kind);
                let expected = "rms, rms_unit_offset or rms_unweighted";
                return Err(Error::config(format!("{at}.qk_norm.kind"), expected, found));
            }
        }
        match self.rope {
            Some(rope) => rope.validate(&format!("{at}.rope"), self.head_dim),
            None => Ok(()),
        }
    }
}

impl Attention {
    /// The keys are an encoder's: where they stand in it says nothing about the distance to a query.
    fn validate_across(&self, at: &str) -> Result<()> {
        let of_distance = [
            ("window", self.window.is_some()),
            ("chunk", self.chunk.is_some()),
            ("rope", self.rope.is_some()),
            ("bidirectional", self.bidirectional),
            // Its queries go from their projection straight to their keys.
            ("qk_norm", self.qk_norm.is_some()),
            ("qkv_clip", self.qkv_clip.is_some()),
            ("temperature", self.temperature.is_some()),
        ];
        match of_distance.iter().find(|(_, is_there)| *is_there) {
            Some((name, _)) => Err(Error::config(format!("{at}.{name}"), "none in cross-attention", "one")),
            None => self.validate(at),
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
                if !(low_freq_factor > 0.0 && high_freq_factor >= low_freq_factor) || original_context == 0 {
                    let found = format!("{low_freq_factor}, {high_freq_factor}, {original_context}");
                    return Err(Error::config(
                        format!("{at}.scaling"),
                        "0 < low_freq_factor <= high_freq_factor and a positive original context",
                        found,
                    ));
                }
                factor
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, magnitude, original_context, .. } => {
                if self.theta <= 1.0 {
                    return Err(Error::config(format!("{at}.theta"), "more than 1 to stretch", self.theta));
                }
                positive_number(&format!("{at}.scaling.magnitude"), magnitude)?;
                positive(&format!("{at}.scaling.original_context"), original_context)?;
                if !(beta_slow > 0.0 && beta_fast > beta_slow) {
                    let (expected, found) =
                        ("0 < beta_slow < beta_fast", format!("{beta_slow}, {beta_fast}"));
                    return Err(Error::config(format!("{at}.scaling"), expected, found));
                }
                factor
            }
            RopeScaling::Proportional { pairs, factor } => {
                if pairs > self.rotary_dim / 2 {
                    let expected = format!("at most the {} of the rotary part", self.rotary_dim / 2);
                    return Err(Error::config(format!("{at}.scaling.pairs"), expected, pairs));
                }
                factor
            }
        };
        positive_number(&format!("{at}.scaling.factor"), factor)
    }
}

impl FeedForward {
    fn validate(&self, at: &str) -> Result<()> {
        if let Some(clamp) = self.clamp {
            positive_number(&format!("{at}.clamp.limit"), clamp.limit)?;
            finite(&format!("{at}.clamp.alpha"), clamp.alpha)?;
            if !self.gated || self.activation != Activation::Silu {
                return Err(Error::config(format!("{at}.clamp"), "none but of a gated silu", "one"));
            }
        }
        let key = format!("{at}.hidden");
        positive(&key, self.hidden)?;
        count(&key, "rows of the matrix into it", [self.up_rows(), 1])
    }

    /// Rows of the matrix into it: `2 f` when gated, else `f`.
    fn up_rows(self) -> u64 {
        u64::from(self.hidden) * if self.gated { 2 } else { 1 }
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
