//! `shaders/norm`: a norm, or a scale and a shift, applied to the input on the way in.

use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::Binding;
use crate::kernel::check::bytes;
use crate::shader::{Source, fragment};

/// What is applied to the input on the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputNorm {
    /// None.
    None,
    /// RMSNorm.
    Rms,
    /// LayerNorm; without a stored shift the shift is zero.
    Layer,
    /// A scale and a shift for each input, whatever the others are: OmniQuant's transformation (arXiv 2308.13137).
    Affine,
}

impl InputNorm {
    /// All.
    pub const ALL: [Self; 4] = [Self::None, Self::Rms, Self::Layer, Self::Affine];

    /// Adds its fragments.
    pub(crate) fn add_to(self, source: Source) -> Source {
        match self {
            Self::None => source.with(fragment!("norm/none.wgsl")),
            Self::Rms => source.with(fragment!("norm/rms.wgsl")).with(fragment!("norm/weight.wgsl")),
            Self::Layer => source.with(fragment!("norm/layer.wgsl")).with(fragment!("norm/weight.wgsl")),
            Self::Affine => source.with(fragment!("norm/affine.wgsl")).with(fragment!("norm/weight.wgsl")),
        }
    }

    /// The binding of its weight.
    pub(crate) fn binding(self) -> Option<Binding> {
        (self != Self::None).then_some(Binding::read(8, "norm_weight"))
    }

    /// What applying it to `rows` rows of `width` inputs moves and computes, where statistics are made so many times and
    /// used so many times over.
    pub(crate) fn work(self, width: u64, rows: u64, [made, used]: [u64; 2], work: Work) -> Work {
        let (reads, vectors) = match self {
            Self::None => return work,
            Self::Rms => (1, 1),
            Self::Layer => (2, 2),
            Self::Affine => (0, 2),
        };
        let inputs = rows * width;
        let work = work.with_bytes(ByteClass::ActIn, 0, made * reads * inputs * 4).with_bytes(
            ByteClass::Weight,
            vectors * width * 4,
            used * vectors * inputs * 4,
        );
        if self == Self::Affine {
            return work.with_ops(OpClass::F32Fma, inputs, used * inputs);
        }
        work.with_ops(OpClass::F32Fma, reads * inputs, made * reads * inputs)
            .with_ops(OpClass::F32Other, 2 * inputs, used * 2 * inputs)
            .with_ops(OpClass::Sfu, rows, made * rows)
    }

    /// Bytes of its weight.
    pub(crate) fn size(self, width: u32) -> Option<(&'static str, u64)> {
        let vectors = match self {
            Self::None => return None,
            Self::Rms => 1,
            Self::Layer | Self::Affine => 2,
        };
        Some(("norm_weight", bytes([vectors, width])))
    }
}
