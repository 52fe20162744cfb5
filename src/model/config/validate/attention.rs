//! What attention, its latents and its positions may be.

use super::{at_most, count, finite, positive, positive_number};
use crate::kernels::attention::{MAX_HEAD_DIM, MAX_KEY_DIM};
use crate::model::config::{Attention, LatentAttention, NormKind, Rope, RopeScaling};
use crate::{Error, Result};

impl Attention {
    pub(super) fn validate(&self, at: &str) -> Result<()> {
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
        let of_values = [("v_norm", self.v_norm), ("v_is_k", self.v_is_k)];
        if let (Some((name, _)), Some(_)) = (of_values.iter().find(|(_, is_there)| *is_there), self.kv_from) {
            return Err(Error::config(
                format!("{at}.{name}"),
                "none where keys and values are another's",
                true,
            ));
        }
        let of_heads = self.qk_norm.is_some() && !self.qk_norm_of_all_heads;
        if self.v_norm && !of_heads {
            let expected = "none but beside a norm of each head of Q and K";
            return Err(Error::config(format!("{at}.v_norm"), expected, true));
        }
        if let Some(cap) = self.softcap {
            positive_number(&format!("{at}.softcap"), cap)?;
        }
        if let Some(alibi) = self.alibi {
            finite(&format!("{at}.alibi.scale"), alibi.scale)?;
        }
        self.validate_qk_norm(at)?;
        match self.rope {
            Some(rope) => rope.validate(&format!("{at}.rope"), self.head_dim),
            None => Ok(()),
        }
    }
}

impl Attention {
    /// A norm over all heads together, and one beside norms of V, is an RMS norm; weights of its own for each head has a
    /// LayerNorm alone.
    fn validate_qk_norm(&self, at: &str) -> Result<()> {
        let Some(norm) = self.qk_norm else { return Ok(()) };
        norm.validate(&format!("{at}.qk_norm"))?;
        let is_layer = matches!(norm.kind, NormKind::LayerNorm | NormKind::LayerNormBias);
        if is_layer && (self.qk_norm_of_all_heads || self.v_norm) {
            let found = format!("{:?}", norm.kind);
            let expected =
                "rms, rms_unit_offset or rms_unweighted over all heads together or beside a v_norm";
            return Err(Error::config(format!("{at}.qk_norm.kind"), expected, found));
        }
        if self.qk_norm_by_head && !is_layer {
            let expected = "none but of a LayerNorm of Q and K";
            return Err(Error::config(format!("{at}.qk_norm_by_head"), expected, true));
        }
        Ok(())
    }

    /// The keys are an encoder's: where they stand in it says nothing about the distance to a query.
    pub(super) fn validate_across(&self, at: &str) -> Result<()> {
        let of_distance = [
            ("window", self.window.is_some()),
            ("chunk", self.chunk.is_some()),
            ("rope", self.rope.is_some()),
            ("alibi", self.alibi.is_some()),
            ("kv_from", self.kv_from.is_some()),
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

impl LatentAttention {
    pub(super) fn validate(&self, at: &str) -> Result<()> {
        positive(&format!("{at}.heads"), self.heads)?;
        if let Some(width) = self.q_latent {
            positive(&format!("{at}.q_latent"), width)?;
        }
        at_most(&format!("{at}.kv_latent"), MAX_HEAD_DIM, self.kv_latent)?;
        at_most(&format!("{at}.nope_dim"), MAX_HEAD_DIM, self.nope_dim)?;
        at_most(&format!("{at}.value_dim"), MAX_HEAD_DIM, self.value_dim)?;
        self.rope.validate(&format!("{at}.rope"), MAX_KEY_DIM - self.kv_latent)?;
        let heads = u64::from(self.heads);
        for dim in
            [self.nope_dim + self.rope.rotary_dim, self.value_dim, self.kv_latent + self.rope.rotary_dim]
        {
            count(&format!("{at}.heads"), "elements of all heads", [heads, dim.into()])?;
        }
        finite(&format!("{at}.scale"), self.scale)?;
        self.latent_norm.validate(&format!("{at}.latent_norm"))?;
        if !matches!(self.latent_norm.kind, NormKind::Rms | NormKind::RmsUnitOffset | NormKind::RmsUnweighted)
        {
            let found = format!("{:?}", self.latent_norm.kind);
            let expected = "rms, rms_unit_offset or rms_unweighted";
            return Err(Error::config(format!("{at}.latent_norm.kind"), expected, found));
        }
        Ok(())
    }
}

impl Rope {
    pub(super) fn validate(&self, at: &str, head_dim: u32) -> Result<()> {
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
