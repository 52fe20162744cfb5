//! What products with a weight matrix share: parameters, codecs, fused norms and epilogues.

mod check;

use crate::energy::{ByteClass, OpClass, Work};
use crate::gpu::Capabilities;
use crate::kernel::{Binding, params};
use crate::quant::{QuantBlock, WeightFormat};
use crate::shader::{Fragment, Source, fragment};

params! {
    /// The uniform of `matvec` and `matmul`.
    pub struct LinearParams {
        /// Inputs of a row, `K`.
        pub in_features: u32,
        /// Rows of one weight matrix (of one expert, of one shard), `N`.
        pub out_features: u32,
        /// `u32` words of one weight row, padding included.
        pub row_words: u32,
        /// Scale blocks of one weight row.
        pub blocks: u32,
        /// log2 of the inputs per block; 31 where a row is one block.
        pub block_shift: u32,
        /// Elements between two rows of the output.
        pub out_stride: u32,
        /// Where this matrix's outputs start in a row of the output.
        pub out_offset: u32,
        /// Experts per token; 1 where there are none.
        pub choices: u32,
        /// Rows of work that read the same input row: `choices` on the way into the experts, else 1.
        pub slots_per_input: u32,
        /// Entries of the tile map of a grouped product; 0 where there is none.
        pub max_tiles: u32,
        /// Of the fused norm.
        pub eps: f32,
        /// Of the soft-capped epilogue.
        pub softcap: f32,
    }
}

impl LinearParams {
    /// A dense product with a `[rows, cols]` matrix stored as `format`.
    pub fn dense(format: WeightFormat, rows: u32, cols: u32) -> Self {
        let (blocks, block_shift) = block_layout(format, cols);
        Self {
            in_features: cols,
            out_features: rows,
            row_words: format.row_words(cols as usize) as u32,
            blocks,
            block_shift,
            out_stride: rows,
            out_offset: 0,
            choices: 1,
            slots_per_input: 1,
            max_tiles: 0,
            eps: 0.0,
            softcap: 1.0,
        }
    }

    /// Stored bytes of one matrix: codes, then scales and zero points.
    pub fn weight_bytes(&self) -> (u64, u64) {
        let rows = u64::from(self.out_features);
        (rows * u64::from(self.row_words) * 4, rows * u64::from(self.blocks) * 8)
    }
}

/// Scale blocks of a row of `cols` inputs, and the shift from an input to its block.
pub(crate) fn block_layout(format: WeightFormat, cols: u32) -> (u32, u32) {
    match format {
        WeightFormat::F32 | WeightFormat::F16 => (0, 31),
        WeightFormat::Int(int) => match int.block {
            QuantBlock::Channel => (1, 31),
            QuantBlock::Inputs(len) => (cols.div_ceil(len), len.trailing_zeros()),
        },
    }
}

/// How a kernel decodes weight words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 32-bit floats.
    F32,
    /// 16-bit floats unpacked by baseline WGSL.
    F16,
    /// 16-bit floats read natively.
    F16Native,
    /// 8-bit codes.
    Int8,
    /// 4-bit codes.
    Int4,
    /// 2-bit codes.
    Int2,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 6] = [Self::F32, Self::F16, Self::F16Native, Self::Int8, Self::Int4, Self::Int2];

    /// The codec that reads a format on a device.
    pub fn of(format: WeightFormat, capabilities: &Capabilities) -> Self {
        match format {
            WeightFormat::F32 => Self::F32,
            WeightFormat::F16 if capabilities.f16 => Self::F16Native,
            WeightFormat::F16 => Self::F16,
            WeightFormat::Int(int) => match int.bits {
                2 => Self::Int2,
                4 => Self::Int4,
                _ => Self::Int8,
            },
        }
    }

    /// Its fragment.
    pub fn fragment(self) -> Fragment {
        match self {
            Self::F32 => fragment!("codec/f32.wgsl"),
            Self::F16 => fragment!("codec/f16.wgsl"),
            Self::F16Native => fragment!("codec/f16_native.wgsl", f16),
            Self::Int8 => fragment!("codec/int8.wgsl"),
            Self::Int4 => fragment!("codec/int4.wgsl"),
            Self::Int2 => fragment!("codec/int2.wgsl"),
        }
    }

    /// Whether words are codes that need a scale and a zero point.
    pub fn is_int(self) -> bool {
        matches!(self, Self::Int8 | Self::Int4 | Self::Int2)
    }

    /// The bindings of its words and scales.
    pub fn bindings(self) -> impl Iterator<Item = Binding> {
        let scales = self.is_int().then_some(Binding::read(3, "scales"));
        [Binding::read(2, "words")].into_iter().chain(scales)
    }
}

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

    fn add_to(self, source: Source) -> Source {
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

#[cfg(feature = "model")]
impl From<crate::model::config::Activation> for Activate {
    fn from(activation: crate::model::config::Activation) -> Self {
        use crate::model::config::Activation;
        match activation {
            Activation::Relu => Self::Relu,
            Activation::Relu2 => Self::Relu2,
            Activation::Silu => Self::Silu,
            Activation::GeluTanh => Self::GeluTanh,
            Activation::GeluErf => Self::GeluErf,
        }
    }
}

/// What happens to a sum before it is stored: bias, activation or gate, residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epilogue {
    /// The elementwise function.
    pub activate: Activate,
    /// Whether rows come in pairs, gate then up, that give one output.
    pub gated: bool,
    /// Whether a bias is added first.
    pub bias: bool,
    /// Whether a residual is added last.
    pub residual: bool,
}

impl Epilogue {
    /// The sum as it is.
    pub const NONE: Self = Self { activate: Activate::Identity, gated: false, bias: false, residual: false };

    /// Every epilogue a forward pass uses.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self { activate: Activate::Softcap, ..Self::NONE }];
        for bias in [false, true] {
            for residual in [false, true] {
                all.push(Self { bias, residual, ..Self::NONE });
            }
            for activate in Activate::FEED_FORWARD {
                for gated in [false, true] {
                    all.push(Self { activate, gated, bias, residual: false });
                }
            }
        }
        all
    }

    /// Adds its fragments.
    pub(crate) fn add_to(self, source: Source) -> Source {
        let source = self.activate.add_to(source);
        let source =
            source.with(if self.bias { fragment!("bias/add.wgsl") } else { fragment!("bias/none.wgsl") });
        if self.gated {
            return source.with(fragment!("epilogue/glu.wgsl"));
        }
        source.with(residual_fragment(self.residual)).with(fragment!("epilogue/plain.wgsl"))
    }

    /// Its bindings, the output among them.
    pub(crate) fn bindings(self) -> impl Iterator<Item = Binding> {
        let bias = self.bias.then_some(Binding::read(5, "bias"));
        let residual = self.residual.then_some(Binding::read(6, "residual"));
        bias.into_iter().chain(residual).chain([Binding::write(7, "y")])
    }

    /// What it moves and computes for `rows` rows of `params.out_features` sums each.
    pub(crate) fn work(self, params: &LinearParams, rows: u64, work: Work) -> Work {
        let sums = rows * u64::from(params.out_features);
        let outputs = if self.gated { sums / 2 } else { sums };
        let mut work = work.with_bytes(ByteClass::ActOut, outputs * 4, outputs * 4);
        if self.bias {
            work = work.with_bytes(ByteClass::Weight, u64::from(params.out_features) * 4, sums * 4);
            work = work.with_ops(OpClass::F32Other, sums, sums);
        }
        if self.residual {
            work = work.with_bytes(ByteClass::ActIn, outputs * 4, outputs * 4);
            work = work.with_ops(OpClass::F32Other, outputs, outputs);
        }
        if self.activate != Activate::Identity {
            work = work.with_ops(OpClass::Sfu, outputs, outputs);
        }
        work
    }
}

/// The fragment that adds a residual, or does not.
pub(crate) fn residual_fragment(residual: bool) -> Fragment {
    if residual { fragment!("residual/add.wgsl") } else { fragment!("residual/none.wgsl") }
}

/// A norm applied to the input on the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputNorm {
    /// None.
    None,
    /// RMSNorm.
    Rms,
    /// LayerNorm; without a stored shift the shift is zero.
    Layer,
}

impl InputNorm {
    /// Every norm.
    pub const ALL: [Self; 3] = [Self::None, Self::Rms, Self::Layer];

    /// Adds its fragments.
    pub(crate) fn add_to(self, source: Source) -> Source {
        match self {
            Self::None => source.with(fragment!("norm/none.wgsl")),
            Self::Rms => source.with(fragment!("norm/rms.wgsl")).with(fragment!("norm/weight.wgsl")),
            Self::Layer => source.with(fragment!("norm/layer.wgsl")).with(fragment!("norm/weight.wgsl")),
        }
    }

    /// The binding of its weight.
    pub(crate) fn binding(self) -> Option<Binding> {
        (self != Self::None).then_some(Binding::read(8, "norm_weight"))
    }

    /// What normalising `rows` rows of `width` inputs moves and computes, `passes` times over.
    pub(crate) fn work(self, width: u64, rows: u64, passes: u64, work: Work) -> Work {
        let (reads, vectors) = match self {
            Self::None => return work,
            Self::Rms => (1, 1),
            Self::Layer => (2, 2),
        };
        let inputs = rows * width;
        work.with_bytes(ByteClass::ActIn, 0, passes * reads * inputs * 4)
            .with_bytes(ByteClass::Weight, vectors * width * 4, passes * vectors * inputs * 4)
            .with_ops(OpClass::F32Fma, reads * inputs, passes * reads * inputs)
            .with_ops(OpClass::F32Other, 2 * inputs, passes * 2 * inputs)
            .with_ops(OpClass::Sfu, rows, passes * rows)
    }
}

#[cfg(feature = "model")]
impl From<crate::model::config::NormKind> for InputNorm {
    fn from(kind: crate::model::config::NormKind) -> Self {
        use crate::model::config::NormKind;
        match kind {
            NormKind::Rms | NormKind::RmsUnitOffset => Self::Rms,
            NormKind::LayerNorm | NormKind::LayerNormBias => Self::Layer,
        }
    }
}

/// How a workgroup adds over its lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduce {
    /// A tree in workgroup memory.
    Workgroup,
    /// Subgroup additions first.
    Subgroup,
}

impl Reduce {
    /// Both ways.
    pub const ALL: [Self; 2] = [Self::Workgroup, Self::Subgroup];

    /// The better way a device has.
    pub fn of(capabilities: &Capabilities) -> Self {
        if capabilities.subgroups { Self::Subgroup } else { Self::Workgroup }
    }

    /// Adds its fragments, entry point included.
    pub(crate) fn add_to(self, source: Source) -> Source {
        match self {
            Self::Workgroup => {
                source.with(fragment!("reduce/workgroup.wgsl")).with(fragment!("entry/plain.wgsl"))
            }
            Self::Subgroup => {
                source.with(fragment!("reduce/subgroup.wgsl")).with(fragment!("entry/subgroup.wgsl"))
            }
        }
    }
}

/// What decoding `weights` weights computes.
pub(crate) fn unpack_work(codec: Codec, useful: u64, executed: u64, work: Work) -> Work {
    match codec {
        Codec::F32 => work,
        _ => work.with_ops(OpClass::Unpack, useful, executed),
    }
}
