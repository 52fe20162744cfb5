//! What a description asks for, as the choices of kernels.

use crate::fragments::{Activate, InputNorm};
use crate::model::config::{Activation, NormKind};

impl From<Activation> for Activate {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Relu => Self::Relu,
            Activation::Relu2 => Self::Relu2,
            Activation::Silu => Self::Silu,
            Activation::GeluTanh => Self::GeluTanh,
            Activation::GeluErf => Self::GeluErf,
        }
    }
}

impl From<NormKind> for InputNorm {
    fn from(kind: NormKind) -> Self {
        match kind {
            NormKind::Rms | NormKind::RmsUnitOffset => Self::Rms,
            NormKind::LayerNorm | NormKind::LayerNormBias => Self::Layer,
        }
    }
}
