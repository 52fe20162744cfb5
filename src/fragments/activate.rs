//! `shaders/activation`: elementwise functions.

use crate::shader::{Source, fragment};

/// The elementwise function of an epilogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activate {
    /// None.
    Identity,
    /// `cap * tanh(x / cap)`.
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
}

impl Activate {
    /// The activations of feed-forward networks.
    pub const FEED_FORWARD: [Self; 5] = [Self::Relu, Self::Relu2, Self::Silu, Self::GeluTanh, Self::GeluErf];

    /// Adds its fragments.
    pub(crate) fn add_to(self, source: Source) -> Source {
        let tanh = fragment!("common/safe_tanh.wgsl");
        match self {
            Self::Identity => source.with(fragment!("activation/identity.wgsl")),
            Self::Softcap => source.with(fragment!("activation/softcap.wgsl")).with(tanh),
            Self::Relu => source.with(fragment!("activation/relu.wgsl")),
            Self::Relu2 => source.with(fragment!("activation/relu2.wgsl")),
            Self::Silu => source.with(fragment!("activation/silu.wgsl")),
            Self::GeluTanh => source.with(fragment!("activation/gelu_tanh.wgsl")).with(tanh),
            Self::GeluErf => source.with(fragment!("activation/gelu_erf.wgsl")),
        }
    }
}
