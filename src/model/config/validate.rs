//! Whether the numbers of a description fit together, and whether kernels can take them.

mod attention;
mod encoder;
mod experts;

use std::fmt::Display;

use super::{Activation, Attention, Block, FeedForward, ModelConfig, Norm, NormKind, Op, SubLayer};
use crate::kernels::altup::MAX_STREAMS;
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
        finite("head.scale", self.head.scale)?;
        if let Some(cap) = self.head.softcap {
            positive_number("head.softcap", cap)?;
        }
        if self.learned_positions {
            count(
                "context_length",
                "learned numbers of positions",
                [self.context_length, self.hidden_size].map(u64::from),
            )?;
        }
        self.validate_layer_inputs()?;
        self.validate_streams()?;
        if self.blocks.is_empty() {
            return Err(Error::config("blocks", "at least one block", 0));
        }
        validate_blocks(&self.blocks, "", self.hidden_size)?;
        self.validate_kv_sharing()?;
        self.validate_stacks()
    }

    /// Sub-layers that read embeddings of their own go together with what gives them.
    fn validate_layer_inputs(&self) -> Result<()> {
        let readers = self.layer_input_places().count();
        let Some(inputs) = self.layer_inputs else {
            return match readers {
                0 => Ok(()),
                _ => Err(Error::config(
                    "layer_inputs",
                    format!("one, as {readers} sub-layers read it"),
                    "none",
                )),
            };
        };
        if readers == 0 {
            return Err(Error::config("layer_inputs", "none where no sub-layer reads it", "one"));
        }
        positive("layer_inputs.width", inputs.width)?;
        positive("layer_inputs.vocab_size", inputs.vocab_size)?;
        finite("layer_inputs.embedding_scale", inputs.embedding_scale)?;
        inputs.norm.validate("layer_inputs.norm")?;
        count("layer_inputs.width", "elements of all layers", [inputs.width.into(), readers as u64])
    }

    /// On several streams, sub-layers that read embeddings of their own come last in a block, and what they give is normed.
    fn validate_streams(&self) -> Result<()> {
        let Some(streams) = self.streams else { return Ok(()) };
        if !(2..=MAX_STREAMS).contains(&streams.count) {
            return Err(Error::config("streams.count", format!("2 to {MAX_STREAMS}"), streams.count));
        }
        if streams.active >= streams.count {
            let expected = format!("one of the {} streams", streams.count);
            return Err(Error::config("streams.active", expected, streams.active));
        }
        streams.norm.validate("streams.norm")?;
        if !matches!(streams.norm.kind, NormKind::Rms | NormKind::RmsUnitOffset | NormKind::RmsUnweighted) {
            let expected = "rms, rms_unit_offset or rms_unweighted";
            return Err(Error::config("streams.norm.kind", expected, format!("{:?}", streams.norm.kind)));
        }
        count("streams.count", "rows of projections", [streams.count.into(), self.hidden_size.into()])?;
        for (b, block) in self.blocks.iter().enumerate() {
            let is_reader = |sublayer: &SubLayer| matches!(sublayer.op, Op::LayerInput(_));
            let works = block.sublayers.iter().take_while(|sublayer| !is_reader(sublayer)).count();
            for (s, sublayer) in block.sublayers.iter().enumerate() {
                let refuse = |key: &str, expected: &str| {
                    Err(Error::config(format!("blocks[{b}].sublayers[{s}]{key}"), expected, "another"))
                };
                let in_branch =
                    matches!(&sublayer.op, Op::Parallel(branches) if branches.iter().any(is_reader));
                if in_branch || (s >= works && !is_reader(sublayer)) {
                    return refuse(
                        "",
                        "sub-layers that read embeddings of their own last, where there are streams",
                    );
                }
                let is_plain = sublayer.post_norm.is_some()
                    && sublayer.width.is_none()
                    && !sublayer.output_scale
                    && sublayer.output_factor.is_none();
                if is_reader(sublayer) && !is_plain {
                    let expected = "a post_norm, and neither a width nor a scale, where there are streams";
                    return refuse(".layer_input", expected);
                }
            }
        }
        Ok(())
    }

    /// Whose keys and values another attention reads must come before it, and have such as it would have.
    fn validate_kv_sharing(&self) -> Result<()> {
        let mut owners = Vec::new();
        for (place, op) in self.ops() {
            let (Op::Attention(attention), Some(at)) = (op, place.at()) else { continue };
            let Some(source) = attention.kv_from else {
                owners.extend((!attention.bidirectional).then_some((at, attention)));
                continue;
            };
            let key = place.name("attention.kv_from");
            let Some((_, owner)) = owners.iter().find(|(owner, _)| *owner == source) else {
                let expected = "an earlier attention with keys and values of its own";
                return Err(Error::config(key, expected, format!("{source:?}")));
            };
            let shape = |of: &Attention| [of.kv_heads, of.head_dim];
            let reach = |of: &Attention| [of.window, of.chunk];
            if shape(owner) != shape(attention) || reach(owner) != reach(attention) {
                let expected = "an attention with the same key/value heads, and the same window or chunk";
                return Err(Error::config(key, expected, format!("{source:?}")));
            }
        }
        Ok(())
    }
}

fn validate_blocks(blocks: &[Block], at: &str, hidden_size: u32) -> Result<()> {
    for (b, block) in blocks.iter().enumerate() {
        if block.sublayers.is_empty() {
            let key = format!("{at}blocks[{b}].sublayers");
            return Err(Error::config(key, "at least one sub-layer", 0));
        }
        for (s, sublayer) in block.sublayers.iter().enumerate() {
            let at = format!("{at}blocks[{b}].sublayers[{s}]");
            if sublayer.keep_input {
                return Err(Error::config(format!("{at}.keep_input"), "none but in a branch", true));
            }
            sublayer.validate(&at, hidden_size)?;
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
        if let Some(factor) = self.output_factor {
            finite(&format!("{at}.output_factor"), factor)?;
            let of_last = match &self.op {
                Op::Parallel(branches) => branches.last().is_some_and(|branch| branch.post_norm.is_some()),
                _ => false,
            };
            // A width has its own projection after the branches.
            if self.post_norm.is_none() && (!of_last || self.width.is_some()) {
                let expected = "none where nothing is normed before it is added";
                return Err(Error::config(format!("{at}.output_factor"), expected, factor));
            }
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
            Op::LatentAttention(attention) => attention.validate(&format!("{at}.latent_attention")),
            Op::FeedForward(ffn) => ffn.validate(&format!("{at}.feed_forward")),
            Op::Experts(experts) => experts.validate(&format!("{at}.experts"), hidden_size),
            Op::CrossAttention(attention) => attention.validate_across(&format!("{at}.cross_attention")),
            // What it reads is the model's.
            Op::LayerInput(_) => Ok(()),
            Op::Parallel(branches) => parallel(branches, &format!("{at}.parallel"), hidden_size),
        }
    }
}

impl Op {
    fn reads_encoder(&self) -> bool {
        match self {
            Self::CrossAttention(_) => true,
            Self::Parallel(branches) => branches.iter().any(|branch| branch.op.reads_encoder()),
            Self::Attention(_) | Self::LatentAttention(_) | Self::FeedForward(_) => false,
            Self::Experts(_) | Self::LayerInput(_) => false,
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
        if branch.output_factor.is_some() {
            return Err(Error::config(format!("{at}.output_factor"), "none in a branch", "one"));
        }
        // What is kept is the group's input, beside what the branch's norm gives.
        if branch.keep_input
            && (branch.norm.is_some() || branch.post_norm.is_none() || branch.width.is_some())
        {
            let expected = "none but of a branch with a norm after it, and neither one before it nor a width";
            return Err(Error::config(format!("{at}.keep_input"), expected, true));
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

impl FeedForward {
    fn validate(&self, at: &str) -> Result<()> {
        if let Some(clamp) = self.clamp {
            positive_number(&format!("{at}.clamp.limit"), clamp.limit)?;
            finite(&format!("{at}.clamp.alpha"), clamp.alpha)?;
            if !self.gated || self.activation != Activation::Silu {
                return Err(Error::config(format!("{at}.clamp"), "none but of a gated silu", "one"));
            }
        }
        if let Some(share) = self.sparsity {
            if !(share > 0.0 && share < 1.0) {
                return Err(Error::config(format!("{at}.sparsity"), "a share above 0 and below 1", share));
            }
            if !self.gated || self.bias || self.clamp.is_some() {
                let expected = "none but of a gated network without biases or limits";
                return Err(Error::config(format!("{at}.sparsity"), expected, share));
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
