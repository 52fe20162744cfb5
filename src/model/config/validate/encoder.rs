//! What an encoder and its decoder may be together.

use super::validate_blocks;
use crate::model::config::{Encoder, ModelConfig, Op, RelativeBias};
use crate::model::slot::{Place, Stack};
use crate::{Error, Result};

impl ModelConfig {
    /// What stacks have that others have not: an encoder sees both ways and has nothing to attend to but itself, a decoder sees
    /// one way and attends to the encoder.
    pub(super) fn validate_stacks(&self) -> Result<()> {
        if let Some(encoder) = &self.encoder {
            self.validate_encoder(encoder)?;
        }
        for stack in [Stack::Encoder, Stack::Decoder] {
            self.validate_bias(stack)?;
            self.ops_of(stack).try_for_each(|(place, op)| validate_direction(place, op))?;
        }
        Ok(())
    }

    fn validate_encoder(&self, encoder: &Encoder) -> Result<()> {
        encoder.final_norm.validate("encoder.final_norm")?;
        for (key, is_there) in
            [("layer_inputs", self.layer_inputs.is_some()), ("streams", self.streams.is_some())]
        {
            if is_there {
                return Err(Error::config(key, "none beside an encoder", "some"));
            }
        }
        if encoder.start_id >= self.vocab_size {
            let expected = format!("a token of the vocabulary of {}", self.vocab_size);
            return Err(Error::config("encoder.start_id", expected, encoder.start_id));
        }
        if encoder.blocks.is_empty() {
            return Err(Error::config("encoder.blocks", "at least one block", 0));
        }
        validate_blocks(&encoder.blocks, "encoder.", self.hidden_size)?;
        let attends = self.ops_of(Stack::Decoder).any(|(_, op)| matches!(op, Op::CrossAttention(_)));
        if attends {
            Ok(())
        } else {
            Err(Error::config("encoder", "none without cross-attention to it", "one"))
        }
    }

    fn validate_bias(&self, stack: Stack) -> Result<()> {
        let Some(bias) = self.relative_bias_of(stack) else { return Ok(()) };
        let (at, both_ways) = match stack {
            Stack::Decoder => ("relative_bias", false),
            Stack::Encoder => ("encoder.relative_bias", true),
        };
        bias.validate(at, both_ways)?;
        let heads = self.biased_heads(stack).unwrap_or(0);
        let other = self.ops_of(stack).find_map(|(_, op)| match op {
            Op::Attention(attention) => Some(attention.heads).filter(|of| *of != heads),
            _ => None,
        });
        let sloped =
            |(_, op): (Place, &Op)| matches!(op, Op::Attention(attention) if attention.alibi.is_some());
        if self.ops_of(stack).any(sloped) {
            return Err(Error::config(at, "none where attention has alibi", "one"));
        }
        match (heads, other) {
            (0, _) => Err(Error::config(at, "none where there is no attention", "one")),
            (_, Some(other)) => {
                Err(Error::config(at, format!("{heads} heads in all attention that shares it"), other))
            }
            (_, None) => Ok(()),
        }
    }
}

/// Refuses attention that sees what there is not at its place.
fn validate_direction(place: Place, op: &Op) -> Result<()> {
    let in_encoder = place.stack() == Stack::Encoder;
    match op {
        Op::LatentAttention(_) if in_encoder => {
            Err(Error::config(place.name("latent_attention"), "none in an encoder", "one"))
        }
        Op::CrossAttention(_) if in_encoder => {
            Err(Error::config(place.name("cross_attention"), "none in an encoder", "one"))
        }
        Op::Attention(attention) if attention.bidirectional != in_encoder => {
            let key = place.name("attention.bidirectional");
            Err(Error::config(key, "true in an encoder, and nowhere else", attention.bidirectional))
        }
        Op::Attention(attention) if in_encoder && attention.kv_from.is_some() => {
            Err(Error::config(place.name("attention.kv_from"), "none in an encoder", "one"))
        }
        Op::Attention(attention) => match attention.reach().filter(|_| in_encoder) {
            Some(reach) => {
                let key = place.name("attention.window");
                Err(Error::config(key, "none, nor a chunk, where all is seen", reach))
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Largest distance that has a number of its own: more would be a table of megabytes.
const MOST_DISTANCE: u32 = 1 << 16;

impl RelativeBias {
    fn validate(self, at: &str, both_ways: bool) -> Result<()> {
        let each_way = self.buckets_each_way(both_ways);
        if each_way < 2 {
            return Err(Error::config(format!("{at}.buckets"), "at least 2 on each side", self.buckets));
        }
        if self.buckets > MOST_DISTANCE {
            return Err(Error::config(
                format!("{at}.buckets"),
                format!("at most {MOST_DISTANCE}"),
                self.buckets,
            ));
        }
        // Distances below half of the buckets have buckets of their own, and the others are divided by logarithms.
        let least = each_way / 2 + 1;
        if !(least..=MOST_DISTANCE).contains(&self.max_distance) {
            let expected = format!("{least} to {MOST_DISTANCE}");
            return Err(Error::config(format!("{at}.max_distance"), expected, self.max_distance));
        }
        Ok(())
    }
}
