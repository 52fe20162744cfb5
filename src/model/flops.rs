//! Floating-point operations of a forward pass, from its description.
//!
//! These are the operations that papers compare models by: of products with matrices and of attention, a multiply-add
//! as two. What a schedule dispatches, norms and padding included, is counted by
//! [`Schedule::work`](crate::schedule::Schedule::work).
//!
//! ```
//! use wattle::model::flops::Flops;
//! use wattle::model::presets::gemma2_2b;
//!
//! let flops = Flops::of_token(&gemma2_2b(), 8192, 0);
//! assert_eq!(flops.logits, 2 * 256_128 * 2304);
//! assert_eq!(flops.total() / 1_000_000, 6537); // 6.5 billion
//! ```

use std::ops::Add;

use super::config::{Attention, ModelConfig, Op};
use super::parameters::Parameters;
use super::slot::Stack;

/// Floating-point operations by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flops {
    /// Products with matrices, those below apart: two for every [activated](Parameters::activated) parameter of
    /// a token's stack.
    pub products: u64,
    /// K and V of cross-attention, once for every token of the encoder. Papers often count them with the tokens of the
    /// decoder.
    pub cross_kv: u64,
    /// Attention: `4 H h` for every query and key that it sees, `2 H (n + r + v)` where keys and values are those of latents.
    pub attention: u64,
    /// The logits of every token, `2 V d`.
    pub logits: u64,
}

impl Flops {
    /// Of one token of the decoder, the last of `context`, with a decoder's cross-attention to `encoder_tokens`, whose K and V are
    /// there.
    pub fn of_token(config: &ModelConfig, context: u32, encoder_tokens: u32) -> Self {
        Self::over(config, [context], encoder_tokens)
    }

    /// Of a sequence of `tokens` that each see those before them, with a decoder's cross-attention to `encoder_tokens`; what
    /// the encoder computes for those is [`Flops::of_encoder`].
    pub fn of_sequence(config: &ModelConfig, tokens: u32, encoder_tokens: u32) -> Self {
        let cross_kv = 2 * Parameters::of(config).cross_kv * u64::from(encoder_tokens);
        Self { cross_kv, ..Self::over(config, 1..=tokens, encoder_tokens) }
    }

    /// Of an encoder that reads so many tokens, each of which sees all of them.
    pub fn of_encoder(config: &ModelConfig, tokens: u32) -> Self {
        let contexts = std::iter::repeat_n(tokens, tokens as usize);
        Self { logits: 0, ..Self::in_stack(config, Stack::Encoder, contexts, 0) }
    }

    /// Their sum.
    pub fn total(self) -> u64 {
        self.products + self.cross_kv + self.attention + self.logits
    }

    /// Of a token of the decoder at the end of each of these contexts.
    pub(super) fn over(
        config: &ModelConfig,
        contexts: impl IntoIterator<Item = u32>,
        encoder_tokens: u32,
    ) -> Self {
        Self::in_stack(config, Stack::Decoder, contexts, encoder_tokens)
    }

    fn in_stack(
        config: &ModelConfig,
        stack: Stack,
        contexts: impl IntoIterator<Item = u32>,
        encoder_tokens: u32,
    ) -> Self {
        let contexts: Vec<u32> = contexts.into_iter().collect();
        let tokens = contexts.len() as u64;
        let keys =
            |attention: &Attention| contexts.iter().map(|context| attention.keys_at(*context)).sum::<u64>();
        let of_op = |(_, op): (_, &Op)| match op {
            Op::Attention(attention) => 4 * u64::from(attention.q_rows()) * keys(attention),
            // As papers count it: what the heads' matrices are multiplied with first is left to each implementation.
            Op::LatentAttention(attention) => {
                let seen = contexts.iter().map(|context| u64::from(*context)).sum::<u64>();
                2 * u64::from(attention.q_rows() + attention.v_rows()) * seen
            }
            Op::CrossAttention(attention) => {
                4 * u64::from(attention.q_rows()) * tokens * u64::from(encoder_tokens)
            }
            Op::FeedForward(_) | Op::Experts(_) | Op::LayerInput(_) | Op::Parallel(_) => 0,
        };
        Self {
            products: 2 * tokens * Parameters::activated_in(config, stack).of_token(),
            cross_kv: 0,
            attention: config.ops_of(stack).map(of_op).sum(),
            logits: 2 * tokens * u64::from(config.vocab_size) * u64::from(config.hidden_size),
        }
    }
}

impl Add for Flops {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            products: self.products + other.products,
            cross_kv: self.cross_kv + other.cross_kv,
            attention: self.attention + other.attention,
            logits: self.logits + other.logits,
        }
    }
}

impl Attention {
    /// Keys that the last token of a context sees: those of its window, or of its chunk up to itself.
    fn keys_at(&self, context: u32) -> u64 {
        let in_chunk = |chunk: u32| context.checked_sub(1)?.checked_rem(chunk).map(|before| before + 1);
        let keys = match (self.window, self.chunk) {
            (Some(window), _) => context.min(window),
            (None, Some(chunk)) => in_chunk(chunk).unwrap_or(0),
            (None, None) => context,
        };
        u64::from(keys)
    }
}
