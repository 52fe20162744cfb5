//! `shaders/codec`: how stored words become numbers.

use crate::Result;
use crate::energy::{OpClass, Work};
use crate::gpu::Capabilities;
use crate::kernel::Binding;
use crate::kernel::check::{bytes, require};
use crate::quant::{WeightFormat, Width, row_words as row_words_of};
use crate::shader::{Source, fragment};

/// How a kernel decodes weight words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 32-bit floats.
    F32,
    /// 16-bit floats unpacked by baseline WGSL.
    F16,
    /// 16-bit floats read natively.
    F16Native,
    /// Codes of so many bits.
    Int(Width),
}

impl Codec {
    /// Every codec.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::F32, Self::F16, Self::F16Native].into_iter().chain(Width::ALL.map(Self::Int))
    }

    /// The codec that reads a format on a device.
    pub fn of(format: WeightFormat, capabilities: &Capabilities) -> Self {
        match format {
            WeightFormat::F32 => Self::F32,
            WeightFormat::F16 if capabilities.f16 => Self::F16Native,
            WeightFormat::F16 => Self::F16,
            WeightFormat::Int(int) => Self::Int(int.width),
        }
    }

    /// Adds its fragment.
    pub(crate) fn add_to(self, source: Source) -> Source {
        match self {
            Self::F32 => source.with(fragment!("codec/f32.wgsl")),
            Self::F16 => source.with(fragment!("codec/f16.wgsl")),
            Self::F16Native => source.with(fragment!("codec/f16_native.wgsl", f16)),
            Self::Int(width) => source.with(fragment!("codec/int.wgsl")).constant("WIDTH", width.bits()),
        }
    }

    /// Whether words are codes that need a scale and a zero point.
    pub fn is_int(self) -> bool {
        matches!(self, Self::Int(_))
    }

    /// The bindings of its words and scales.
    pub fn bindings(self) -> impl Iterator<Item = Binding> {
        let scales = self.is_int().then_some(Binding::read(3, "scales"));
        [Binding::read(2, "words")].into_iter().chain(scales)
    }

    /// Checks that a stored row holds its inputs, and has a scale for each.
    pub(crate) fn check_row(
        self,
        kernel: &'static str,
        inputs: u32,
        row_words: u32,
        (blocks, block_shift): (u32, u32),
    ) -> Result<()> {
        let least = row_words_of(self.bits(), inputs as usize) as u32;
        let whole = row_words >= least && row_words.is_multiple_of(4);
        let expected = format_args!("a multiple of 4 from {least} on");
        require(kernel, "row_words", whole, expected, row_words)?;
        if !self.is_int() {
            return Ok(());
        }
        require(kernel, "block_shift", (2..=31).contains(&block_shift), "2 to 31", block_shift)?;
        let least = (inputs.saturating_sub(1) >> block_shift) + 1;
        require(kernel, "blocks", blocks >= least, format_args!("at least {least}"), blocks)
    }

    fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::F16Native => 16,
            Self::Int(width) => width.bits(),
        }
    }

    /// Bytes of the words and scales of so many matrices of so many rows.
    pub(crate) fn sizes(
        self,
        [matrices, rows]: [u32; 2],
        row_words: u32,
        blocks: u32,
    ) -> impl Iterator<Item = (&'static str, u64)> {
        let scales = self.is_int().then_some(("scales", bytes([matrices, rows, blocks, 2])));
        [("words", bytes([matrices, rows, row_words]))].into_iter().chain(scales)
    }

    /// What decoding so many weights computes.
    pub(crate) fn work(self, useful: u64, executed: u64, work: Work) -> Work {
        match self {
            Self::F32 => work,
            _ => work.with_ops(OpClass::Unpack, useful, executed),
        }
    }
}
