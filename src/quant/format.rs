//! Storage formats, and the facts that follow from them.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// How a weight matrix `[rows, cols]` is stored.
///
/// A row is a whole number of 16-byte pieces. Each `u32` word holds `32 / bits` neighbouring elements: element
/// `i` of a row is at bit `(i % p) * bits` of word `i / p`, `p = 32 / bits`. Elements past `cols` are zero.
///
/// As text: `f32`, `f16`, `int8`, `int4`, `int2`. An integer format shares scales among 32 inputs unless a
/// suffix says otherwise: `int4:64`, `int4:128`, `int4:channel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// 32-bit floats, one to a word.
    F32,
    /// 16-bit floats, two to a word.
    F16,
    /// Integer codes sliced from an 8-bit parent (arXiv 2502.06786, section 3).
    Int(IntFormat),
}

/// Integer codes: the upper bits of the 8-bit parent, one scale and zero point for every block of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntFormat {
    /// Served bits.
    pub width: Width,
    /// Inputs that share a scale and a zero point.
    pub block: QuantBlock,
}

/// Bits of a stored code that kernels read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// The parent's codes.
    Int8 = 8,
    /// Their 4-bit slices.
    Int4 = 4,
    /// Their 2-bit slices.
    Int2 = 2,
}

impl Width {
    /// Every width, widest first.
    pub const ALL: [Self; 3] = [Self::Int8, Self::Int4, Self::Int2];

    /// Bits of a code.
    pub fn bits(self) -> u32 {
        self as u32
    }
}

/// How many neighbouring inputs of a row share a scale and a zero point; the last block may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuantBlock {
    /// The whole row: one output channel.
    Channel,
    /// That many inputs: 32, 64 or 128.
    Inputs(u32),
}

impl WeightFormat {
    /// Bits of one element.
    pub fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::F16 => 16,
            Self::Int(int) => int.width.bits(),
        }
    }

    /// `u32` words of a row of `cols` elements, padding included.
    pub fn row_words(self, cols: usize) -> usize {
        row_words(self.bits(), cols)
    }

    /// Bytes of a row of `cols` elements, padding included.
    pub fn row_bytes(self, cols: usize) -> usize {
        4 * self.row_words(cols)
    }

    /// Checks that kernels exist for this format.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for other blocks than 32, 64 and 128 inputs.
    pub fn validate(self) -> Result<()> {
        match self {
            Self::F32 | Self::F16 => Ok(()),
            Self::Int(int) => int.block.validate(),
        }
    }
}

impl IntFormat {
    /// Inputs that share a scale in a row of `cols`.
    pub fn block_len(self, cols: usize) -> usize {
        self.block.len(cols)
    }

    /// Blocks, and so scales, of a row of `cols`.
    pub fn blocks(self, cols: usize) -> usize {
        self.block.count(cols)
    }
}

impl QuantBlock {
    /// Inputs of a full block in a row of `cols`.
    pub(super) fn len(self, cols: usize) -> usize {
        match self {
            Self::Channel => cols,
            Self::Inputs(inputs) => inputs as usize,
        }
    }

    /// Blocks of a row of `cols`; the last may be short.
    pub(super) fn count(self, cols: usize) -> usize {
        // A row without elements has no block, and no length to divide by.
        cols.div_ceil(self.len(cols).max(1))
    }

    pub(super) fn validate(self) -> Result<()> {
        match self {
            Self::Channel | Self::Inputs(32 | 64 | 128) => Ok(()),
            Self::Inputs(inputs) => Err(unsupported(
                format_args!("a quantization block of {inputs}"),
                "scales are shared by 32, 64 or 128 inputs or by a whole channel",
            )),
        }
    }
}

/// Words of a row of `cols` elements of `bits` bits each, rounded up to 16 bytes.
pub(super) fn row_words(bits: u32, cols: usize) -> usize {
    cols.div_ceil(per_word(bits)).next_multiple_of(4)
}

/// Elements of `bits` bits in a word.
pub(super) fn per_word(bits: u32) -> usize {
    (32 / bits.clamp(1, 32)) as usize
}

/// Elements of `bits` bits as words: row after row, each padded with zeros to 16 bytes. `element` takes a
/// row-major index.
pub(super) fn pack_rows(rows: usize, cols: usize, bits: u32, element: impl Fn(usize) -> u32) -> Vec<u32> {
    let (per_word, row_words) = (per_word(bits), row_words(bits, cols));
    let mut words = vec![0; rows * row_words];
    for row in 0..rows {
        for col in 0..cols {
            let shift = (col % per_word) as u32 * bits;
            words[row * row_words + col / per_word] |= element(row * cols + col) << shift;
        }
    }
    words
}

fn unsupported(what: impl fmt::Display, why: &str) -> Error {
    Error::Unsupported { what: what.to_string(), why: why.to_owned() }
}

const DEFAULT_BLOCK: QuantBlock = QuantBlock::Inputs(32);

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "int{}", self.bits())
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32 => f.write_str("f32"),
            Self::F16 => f.write_str("f16"),
            Self::Int(IntFormat { width, block }) => match block {
                &DEFAULT_BLOCK => width.fmt(f),
                QuantBlock::Inputs(inputs) => write!(f, "{width}:{inputs}"),
                QuantBlock::Channel => write!(f, "{width}:channel"),
            },
        }
    }
}

impl FromStr for WeightFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            let widths = Width::ALL.map(|width| format!(", {width}")).concat();
            let why = format!("formats are f32, f16{widths}, the integers also with :64, :128 or :channel");
            unsupported(format_args!("weight format '{text}'"), &why)
        };
        let (name, block) = match text.split_once(':') {
            None => (text, None),
            Some((name, "channel")) => (name, Some(QuantBlock::Channel)),
            Some((name, inputs)) => (name, Some(QuantBlock::Inputs(inputs.parse().map_err(|_| unknown())?))),
        };
        let format = match (name, block) {
            ("f32", None) => Self::F32,
            ("f16", None) => Self::F16,
            _ => {
                let width = Width::ALL.into_iter().find(|width| width.to_string() == name);
                let width = width.ok_or_else(unknown)?;
                Self::Int(IntFormat { width, block: block.unwrap_or(DEFAULT_BLOCK) })
            }
        };
        format.validate().map(|()| format)
    }
}
