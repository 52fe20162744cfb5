//! Storage formats, and the facts that follow from them.

use std::fmt;
use std::str::FromStr;

use half::f16;

use super::codes::{Codes, Storage, Width};
use super::rows::{plane_words, row_words};
use crate::{Error, Result};

/// How a weight matrix `[rows, cols]` is stored.
///
/// A row is one plane or several, each padded to 16 bytes and to 16 elements. A `u32` word of a plane of `b` bits holds
/// `p = 32 / b` neighbouring elements. Floats are one plane, element `i` at bit `(i % p) * b` of word `i / p`. Codes
/// have the planes of their [`Storage`]; element `i` is at bit `8 * (i % 4) + b * (i % p / 4)` of word `i / p`, so that
/// neighbours lie in neighbouring bytes. What is past `cols` is zero.
///
/// As text: `f32`, `f16`, `int8` to `int1`. Suffixes say what is unusual of an integer format, in any order:
/// `:64`, `:128`, `:channel`, how many inputs share a scale instead of 32; `:parent`, `:planes`, how codes are stored;
/// `:ep`, extra precision; `:f16`, scales of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// 32-bit floats, one to a word.
    F32,
    /// 16-bit floats, two to a word.
    F16,
    /// Integer codes sliced from an 8-bit parent (arXiv 2502.06786, section 3).
    Int(IntFormat),
}

/// Integer codes, and one scale and zero point for every block of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntFormat {
    /// Their width and storage.
    pub codes: Codes,
    /// Inputs that share a scale and a zero point.
    pub block: QuantBlock,
    /// How scales and zero points are stored.
    pub scales: ScaleFormat,
}

/// How many neighbouring inputs of a row share a scale and a zero point; the last block may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuantBlock {
    /// The whole row: one output channel.
    Channel,
    /// That many inputs: 32, 64 or 128.
    Inputs(u32),
}

/// How the scale and the zero point of a block are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScaleFormat {
    /// Two words.
    F32,
    /// The halves of a word, the scale below.
    F16,
}

impl WeightFormat {
    /// Slices of a width, with f32 scales for every 32 inputs.
    pub const fn int(width: Width) -> Self {
        Self::Int(IntFormat::new(width))
    }

    /// Bits of the planes of a row.
    pub(super) fn plane_bits(self) -> &'static [u32] {
        match self {
            Self::F32 => &[32],
            Self::F16 => &[16],
            Self::Int(int) => int.codes.planes(),
        }
    }

    /// `u32` words of a row of `cols` elements, padding included.
    pub fn row_words(self, cols: usize) -> usize {
        row_words(self.plane_bits(), cols)
    }

    /// The planes of a row of `cols` elements: bits of an element, and `u32` words.
    pub fn planes(self, cols: usize) -> impl Iterator<Item = (u32, usize)> {
        self.plane_bits().iter().map(move |bits| (*bits, plane_words(*bits, cols)))
    }

    /// Bytes of a row of `cols` elements, padding included.
    pub fn row_bytes(self, cols: usize) -> usize {
        4 * self.row_words(cols)
    }

    /// `u32` words of scales and zero points of a row of `cols` elements.
    pub fn scale_words(self, cols: usize) -> usize {
        match self {
            Self::F32 | Self::F16 => 0,
            Self::Int(int) => int.blocks(cols) * int.scales.words(),
        }
    }

    /// Whether what is stored in this format can be read as another: integer codes that hold the parent, at any width.
    pub fn can_serve(self, other: Self) -> bool {
        let parent = |int: IntFormat| match int.codes {
            Codes { storage: Storage::Sliced, width: Width::Int8, .. } => Some(Storage::Parent),
            Codes { storage: Storage::Sliced, .. } => None,
            Codes { storage, .. } => Some(storage),
        };
        match (self, other) {
            (Self::Int(stored), Self::Int(read)) if stored != read => {
                let same = (stored.block, stored.scales) == (read.block, read.scales);
                same && parent(stored).is_some() && parent(stored) == parent(read)
            }
            _ => self == other,
        }
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
    /// Slices of a width, with f32 scales for every 32 inputs.
    pub const fn new(width: Width) -> Self {
        Self { codes: Codes::sliced(width), block: DEFAULT_BLOCK, scales: ScaleFormat::F32 }
    }

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

impl ScaleFormat {
    /// `u32` words of a scale and its zero point.
    pub(crate) fn words(self) -> usize {
        match self {
            Self::F32 => 2,
            Self::F16 => 1,
        }
    }

    /// Scale and zero point as words.
    pub(super) fn encode(self, [scale, zero]: [f32; 2]) -> impl Iterator<Item = u32> {
        let halves = || {
            let [scale, zero] = [scale, zero].map(|x| u32::from(f16::from_f32(x).to_bits()));
            scale | zero << 16
        };
        let words = match self {
            Self::F32 => [scale.to_bits(), zero.to_bits()],
            Self::F16 => [halves(), 0],
        };
        words.into_iter().take(self.words())
    }

    /// The same back.
    pub(super) fn decode(self, words: &[u32]) -> [f32; 2] {
        match self {
            Self::F32 => [words[0], words[1]].map(f32::from_bits),
            Self::F16 => [words[0], words[0] >> 16].map(|half| f16::from_bits(half as u16).to_f32()),
        }
    }
}

fn unsupported(what: impl fmt::Display, why: &str) -> Error {
    Error::Unsupported { what: what.to_string(), why: why.to_owned() }
}

const DEFAULT_BLOCK: QuantBlock = QuantBlock::Inputs(32);

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let int = match self {
            Self::F32 => return f.write_str("f32"),
            Self::F16 => return f.write_str("f16"),
            Self::Int(int) => int,
        };
        int.codes.width.fmt(f)?;
        if int.codes.extra_precision {
            f.write_str(":ep")?;
        }
        match int.block {
            DEFAULT_BLOCK => {}
            QuantBlock::Inputs(inputs) => write!(f, ":{inputs}")?,
            QuantBlock::Channel => f.write_str(":channel")?,
        }
        match int.codes.storage {
            Storage::Sliced => {}
            Storage::Parent => f.write_str(":parent")?,
            Storage::Planes => f.write_str(":planes")?,
        }
        match int.scales {
            ScaleFormat::F32 => Ok(()),
            ScaleFormat::F16 => f.write_str(":f16"),
        }
    }
}

impl FromStr for WeightFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            let why = "formats are f32, f16 and int1 to int8, the integers also with :64, :128, :channel, :parent, \
                       :planes, :ep, :f16";
            unsupported(format_args!("weight format '{text}'"), why)
        };
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let suffixes: Vec<_> = parts.collect();
        match (name, suffixes.is_empty()) {
            ("f32", true) => return Ok(Self::F32),
            ("f16", true) => return Ok(Self::F16),
            _ => {}
        }
        let width = Width::ALL.into_iter().find(|width| width.to_string() == name);
        let mut int = IntFormat::new(width.ok_or_else(unknown)?);
        for suffix in suffixes {
            match suffix {
                "channel" => int.block = QuantBlock::Channel,
                "parent" => int.codes.storage = Storage::Parent,
                "planes" => int.codes.storage = Storage::Planes,
                "ep" => int.codes.extra_precision = true,
                "f16" => int.scales = ScaleFormat::F16,
                inputs => int.block = QuantBlock::Inputs(inputs.parse().map_err(|_| unknown())?),
            }
        }
        Self::Int(int).validate().map(|()| Self::Int(int))
    }
}
