//! `shaders/activation`: elementwise functions.

use crate::shader::{Source, fragment};

/// The elementwise function of an epilogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activate {
    /// None.
    Identity,
    /// `scale * x`, on logits.
    Scale,
    /// `cap * tanh(scale * x / cap)`, on logits.
    Softcap,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)^2`.
    Relu2,
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU by the tanh formula.
    GeluTanh,
    /// GELU by the error function.
    GeluErf,
    /// No function of one number: a gated pair, clamped (gpt-oss). Only where rows come in pairs.
    ClampedGlu,
}

impl Activate {
    /// The activations of feed-forward networks.
    pub const FEED_FORWARD: [Self; 5] = [Self::Relu, Self::Relu2, Self::Silu, Self::GeluTanh, Self::GeluErf];

    /// Adds its fragments, and for gated pairs the product of the two.
    pub(crate) fn add_to(self, source: Source, gated: bool) -> Source {
        let source = match (gated, self) {
            (true, Self::ClampedGlu) => return source.with(fragment!("glu/clamped.wgsl")),
            (true, _) => source.with(fragment!("glu/plain.wgsl")),
            (false, _) => source,
        };
        let tanh = fragment!("common/safe_tanh.wgsl");
        match self {
            Self::Identity | Self::ClampedGlu => source.with(fragment!("activation/identity.wgsl")),
            Self::Scale => source.with(fragment!("activation/scale.wgsl")),
            Self::Softcap => source.with(fragment!("activation/softcap.wgsl")).with(tanh),
            Self::Relu => source.with(fragment!("activation/relu.wgsl")),
            Self::Relu2 => source.with(fragment!("activation/relu2.wgsl")),
            Self::Silu => source.with(fragment!("activation/silu.wgsl")),
            Self::GeluTanh => source.with(fragment!("activation/gelu_tanh.wgsl")).with(tanh),
            Self::GeluErf => source.with(fragment!("activation/gelu_erf.wgsl")),
        }
    }
}
