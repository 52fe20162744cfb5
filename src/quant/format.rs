//! Storage formats, and the facts that follow from them.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// How a weight matrix `[rows, cols]` is stored.
///
/// A row is one plane or several, each a whole number of 16-byte pieces. A `u32` word of a plane of `b` bits holds
/// `p = 32 / b` neighbouring elements: element `i` of a row is at bit `(i % p) * b` of word `i / p`. Elements past `cols`
/// are zero. Floats are one plane. Integer codes have a plane of 8, 4, 2 or 1 bits for each one in the binary number of
/// their bits, upper bits first: 6 bits are a plane of 4 and a plane of 2.
///
/// As text: `f32`, `f16`, `int8`, `int7` and so on to `int1`. An integer format shares scales among 32 inputs unless a
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

/// Bits of a stored code that kernels read: 8, the parent's codes, or fewer, their slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Width {
    Int8 = 8,
    Int7 = 7,
    Int6 = 6,
    Int5 = 5,
    Int4 = 4,
    Int3 = 3,
    Int2 = 2,
    Int1 = 1,
}

impl Width {
    /// Every width, widest first.
    pub const ALL: [Self; 8] =
        [Self::Int8, Self::Int7, Self::Int6, Self::Int5, Self::Int4, Self::Int3, Self::Int2, Self::Int1];

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

    /// The planes of a row of `cols` elements: bits of an element, and `u32` words.
    pub fn planes(self, cols: usize) -> impl Iterator<Item = (u32, usize)> {
        planes(self.bits()).map(move |bits| (bits, plane_words(bits, cols)))
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

/// Words of a row of `cols` elements of `bits` bits each, every plane rounded up to 16 bytes.
pub(crate) fn row_words(bits: u32, cols: usize) -> usize {
    planes(bits).map(|plane| plane_words(plane, cols)).sum()
}

/// Bits of the planes that elements of `bits` bits are stored in, upper bits first.
pub(super) fn planes(bits: u32) -> impl Iterator<Item = u32> {
    [32, 16, 8, 4, 2, 1].into_iter().filter(move |plane| bits & plane != 0)
}

fn plane_words(bits: u32, cols: usize) -> usize {
    cols.div_ceil(32 / bits as usize).next_multiple_of(4)
}

/// Elements of `bits` bits as words: row after row, each a plane after the other, padded with zeros to 16 bytes.
/// `element` takes a row-major index.
pub(super) fn pack_rows(rows: usize, cols: usize, bits: u32, element: impl Fn(usize) -> u32) -> Vec<u32> {
    let row_words = row_words(bits, cols);
    let mut words = vec![0; rows * row_words];
    for row in 0..rows {
        let (mut first, mut below) = (row * row_words, bits);
        for plane in planes(bits) {
            below -= plane;
            let (per_word, mask) = (32 / plane as usize, u32::MAX >> (32 - plane));
            for col in 0..cols {
                let part = (element(row * cols + col) >> below) & mask;
                words[first + col / per_word] |= part << ((col % per_word) as u32 * plane);
            }
            first += plane_words(plane, cols);
        }
    }
    words
}

/// An element of a row that [`pack_rows`] packed.
pub(super) fn unpack_element(row: &[u32], cols: usize, bits: u32, col: usize) -> u32 {
    let (mut first, mut element) = (0, 0);
    for plane in planes(bits) {
        let (per_word, mask) = (32 / plane as usize, u32::MAX >> (32 - plane));
        let part = (row[first + col / per_word] >> ((col % per_word) as u32 * plane)) & mask;
        element = u32::checked_shl(element, plane).unwrap_or(0) | part;
        first += plane_words(plane, cols);
    }
    element
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
            let why = "formats are f32, f16 and int1 to int8, the integers also with :64, :128 or :channel";
            unsupported(format_args!("weight format '{text}'"), why)
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
