//! `shaders/linear/input*`: how rows of inputs are read.

use crate::Result;
use crate::energy::{OpClass, Work};
use crate::kernel::check::{bytes, require};
use crate::shader::{Source, fragment};

/// How a kernel reads rows of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputRows {
    /// Floats in rows of any width, an element at a time.
    Any,
    /// Floats in rows of whole quads, four elements at a time.
    Quads,
    /// Blocks of 32 codes, as [`crate::kernels::quantize`] writes them: for products with weights that are codes as well.
    I8,
}

/// Inputs of a block of codes.
pub(crate) const INPUT_BLOCK: u32 = 32;
// Sums of products of a block's codes with others, 255 at most, are exact as f32, and so in 32 bits.
const _: () = assert!(INPUT_BLOCK * 127 * 255 < 1 << 24);
/// `u32` words of a block: codes, scale, sum, and two that align the next one.
const BLOCK_WORDS: u32 = 12;

impl InputRows {
    /// The ways to read floats.
    pub const FLOATS: [Self; 2] = [Self::Any, Self::Quads];

    /// The better way to read floats of a width.
    pub fn of(in_features: u32) -> Self {
        if in_features.is_multiple_of(4) { Self::Quads } else { Self::Any }
    }

    /// Adds its fragments.
    pub(crate) fn add_to(self, source: Source) -> Source {
        match self {
            Self::Any => source.with(fragment!("linear/input.wgsl")),
            Self::Quads => source.with(fragment!("linear/input_quads.wgsl")),
            Self::I8 => {
                source.with(fragment!("linear/input_blocks.wgsl")).with(fragment!("common/input_block.wgsl"))
            }
        }
    }

    /// Checks that rows are whole quads where they must be.
    pub(crate) fn check(self, kernel: &'static str, in_features: u32) -> Result<()> {
        let whole = self != Self::Quads || in_features.is_multiple_of(4);
        require(kernel, "in_features", whole, "a multiple of 4", in_features)
    }

    /// Checks that what is read are floats.
    pub(crate) fn check_floats(self, kernel: &'static str) -> Result<()> {
        require(kernel, "inputs", self != Self::I8, "floats", "codes")
    }

    /// Inputs that meet weights at a time: a piece of a matrix's row, or a block.
    pub(crate) fn step(self) -> u64 {
        match self {
            Self::Any | Self::Quads => 16,
            Self::I8 => u64::from(INPUT_BLOCK),
        }
    }

    /// `u32` words of a row.
    fn row_words(self, in_features: u32) -> [u32; 2] {
        match self {
            Self::Any | Self::Quads => [in_features, 1],
            Self::I8 => [in_features.div_ceil(INPUT_BLOCK), BLOCK_WORDS],
        }
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(self, in_features: u32) -> u64 {
        bytes(self.row_words(in_features))
    }

    /// Bytes of so many rows for each of so many tokens; where they cannot be counted, more than any device has.
    pub(crate) fn tensor_bytes(self, [tokens, rows]: [u32; 2], in_features: u32) -> u64 {
        let [a, b] = self.row_words(in_features);
        bytes([tokens, rows, a, b])
    }

    /// What multiplying so many inputs with weights computes.
    pub(crate) fn work(self, useful: u64, executed: u64, work: Work) -> Work {
        match self {
            Self::Any | Self::Quads => work.with_ops(OpClass::F32Fma, useful, executed),
            Self::I8 => work.with_ops(OpClass::I8Dot4, useful.div_ceil(4), executed.div_ceil(4)),
        }
    }
}
