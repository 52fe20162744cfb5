//! Integer codes: what is stored of an 8-bit code, and what a width reads of it.

use std::fmt;
use std::ops::Range;

/// Bits of a stored code that kernels read: 8, the parent's codes, or fewer, their slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Width {
    Int1 = 1,
    Int2 = 2,
    Int3 = 3,
    Int4 = 4,
    Int5 = 5,
    Int6 = 6,
    Int7 = 7,
    Int8 = 8,
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

/// What is stored of the 8-bit codes `q7 .. q0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// The slice of one width: a plane of 8, 4, 2 or 1 bits for each one in the binary number of its bits, upper bits
    /// first. 6 bits are a plane of 4 and a plane of 2. With extra precision, a plane of 1 bit that is added follows.
    Sliced,
    /// The codes themselves, in one plane; every width slices them as it reads, and reads all of them.
    Parent,
    /// Nested planes, of which a width reads the upper ones: `h g q6q5 q4 q3 q2q1 q0`, 9 bits, with
    /// `g = q7 ^ (q6 | q5)` and `h`, whether the code is at least 96. The first two are the slice of two bits in Gray
    /// code, and every other width finds `q7` from the planes after `h`.
    Planes,
}

/// Codes of a width in a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Codes {
    /// Served bits.
    pub width: Width,
    /// What is stored.
    pub storage: Storage,
    /// Whether slices may reach `2^bits`, one above what their bits hold (arXiv 2502.06786, section 4: extra
    /// precision). At 8 bits there is no such code.
    pub extra_precision: bool,
}

impl Codes {
    /// The slices of a width, as such.
    pub const fn sliced(width: Width) -> Self {
        Self { width, storage: Storage::Sliced, extra_precision: false }
    }

    /// Bits of the planes of a row, in their order.
    pub(crate) fn planes(self) -> &'static [u32] {
        const SLICED: [&[u32]; 8] = [&[1], &[2], &[2, 1], &[4], &[4, 1], &[4, 2], &[4, 2, 1], &[8]];
        const WITH_CARRY: [&[u32]; 8] =
            [&[1, 1], &[2, 1], &[2, 1, 1], &[4, 1], &[4, 1, 1], &[4, 2, 1], &[4, 2, 1, 1], &[8]];
        match self.storage {
            Storage::Sliced if self.extra_precision => WITH_CARRY[self.width as usize - 1],
            Storage::Sliced => SLICED[self.width as usize - 1],
            Storage::Parent => &[8],
            Storage::Planes => &[1, 1, 2, 1, 1, 2, 1],
        }
    }

    /// The planes that this width reads: those of its bits and of the next one, by which they are rounded.
    pub(crate) fn read_planes(self) -> Range<usize> {
        match (self.storage, self.width) {
            (Storage::Sliced | Storage::Parent, _) => 0..self.planes().len(),
            (Storage::Planes, Width::Int2) if !self.extra_precision => 0..2,
            (Storage::Planes, Width::Int1 | Width::Int2) => 1..3,
            (Storage::Planes, Width::Int3) => 1..4,
            (Storage::Planes, Width::Int4) => 1..5,
            (Storage::Planes, Width::Int5 | Width::Int6) => 1..6,
            (Storage::Planes, Width::Int7 | Width::Int8) => 1..7,
        }
    }

    /// Stored bits of a weight.
    pub fn stored_bits(self) -> u32 {
        self.planes().iter().sum()
    }

    /// Bits of a weight that a kernel reads.
    pub fn read_bits(self) -> u32 {
        self.planes()[self.read_planes()].iter().sum()
    }

    /// The slice of an 8-bit code.
    pub fn slice(self, code: u8) -> u8 {
        slice(code, self.width.bits(), self.extra_precision)
    }

    /// What is stored of an 8-bit code, the bits of the first plane uppermost.
    pub(super) fn encode(self, code: u8) -> u32 {
        let q = u32::from(code);
        match self.storage {
            Storage::Sliced if self.extra_precision && self.width != Width::Int8 => {
                let held = u32::from(slice_code(code, self.width.bits()));
                held << 1 | (u32::from(self.slice(code)) - held)
            }
            Storage::Sliced => u32::from(self.slice(code)),
            Storage::Parent => q,
            Storage::Planes => {
                let upper = (q >> 7) ^ u32::from(q & 0x60 != 0);
                u32::from(q >= 96) << 8 | upper << 7 | (q & 0x7f)
            }
        }
    }

    /// The slice that what is stored stands for.
    pub(super) fn decode(self, stored: u32) -> u8 {
        match self.storage {
            Storage::Sliced if self.extra_precision && self.width != Width::Int8 => {
                ((stored >> 1) + (stored & 1)) as u8
            }
            Storage::Sliced => stored as u8,
            Storage::Parent => self.slice(stored as u8),
            Storage::Planes => {
                let upper = ((stored >> 7) & 1) ^ u32::from(stored & 0x60 != 0);
                self.slice((upper << 7 | (stored & 0x7f)) as u8)
            }
        }
    }
}

/// The `bits`-bit slice of an 8-bit code: `clamp(floor(code / 2^(8 - bits) + 1/2), 0, 2^bits - 1)`, that is, the
/// top bits plus the next one. `bits` is from 1 to 8; a number outside counts as the nearest inside.
///
/// Always slice the 8-bit parent: slicing a slice rounds twice.
pub fn slice_code(code: u8, bits: u32) -> u8 {
    slice(code, bits, false)
}

fn slice(code: u8, bits: u32, extra_precision: bool) -> u8 {
    let bits = bits.clamp(1, 8);
    let half_step = 128 >> bits;
    let rounded = (u16::from(code) + half_step) >> (8 - bits);
    let largest = (1 << bits) - u16::from(!extra_precision || bits == 8);
    rounded.min(largest) as u8
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "int{}", self.bits())
    }
}
