//! What a cache stores keys and values as: `shaders/key_rows` and `shaders/value_rows` to read, `shaders/kv_store` and
//! `shaders/kv_out` to write.

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::energy::{OpClass, Work};
use crate::shader::{Fragment, Source, fragment};

/// Lanes of a workgroup that stores a row.
const STORE_LANES: u64 = 64;

/// How a head of keys or values of a token is stored, a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CacheFormat {
    /// As it is.
    #[default]
    F32,
    /// In f16, two elements in a word; magnitudes above 65504 become that. Off by 2^-11 of an element at most, and by 2^-25 where
    /// that is more.
    F16,
    /// As signed 8-bit codes behind a scale of the row in f32, `max |x| / 127`. Off by half a scale at most.
    Int8,
}

impl CacheFormat {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// `u32` words of a row of so many elements.
    pub const fn row_words(self, head_dim: u32) -> u32 {
        match self {
            Self::F32 => head_dim,
            Self::F16 => head_dim.div_ceil(2),
            Self::Int8 => 1 + head_dim.div_ceil(4),
        }
    }

    /// Bytes of a row of so many elements.
    pub const fn row_bytes(self, head_dim: u32) -> u64 {
        self.row_words(head_dim) as u64 * 4
    }

    /// The fragment that reads keys.
    pub(crate) fn key_fragment(self) -> Fragment {
        match self {
            Self::F32 => fragment!("key_rows/f32.wgsl"),
            Self::F16 => fragment!("key_rows/f16.wgsl"),
            Self::Int8 => fragment!("key_rows/i8.wgsl"),
        }
    }

    /// The fragment that reads values.
    pub(crate) fn value_fragment(self) -> Fragment {
        match self {
            Self::F32 => fragment!("value_rows/f32.wgsl"),
            Self::F16 => fragment!("value_rows/f16.wgsl"),
            Self::Int8 => fragment!("value_rows/i8.wgsl"),
        }
    }

    /// Adds what storing so many rows computes.
    pub(crate) fn store_work(self, rows: u64, head_dim: u32, work: Work) -> Work {
        let elements = rows * u64::from(head_dim);
        match self {
            Self::F32 => work,
            Self::F16 => work.with_ops(OpClass::F32Other, elements, elements),
            // Every lane that stores a word looks at all elements for the largest.
            Self::Int8 => {
                let lanes = rows * STORE_LANES;
                let all = lanes * u64::from(head_dim) + 2 * elements;
                work.with_ops(OpClass::F32Other, 3 * elements, all).with_ops(
                    OpClass::Sfu,
                    2 * rows,
                    2 * lanes,
                )
            }
        }
    }

    /// Adds what reading so many elements computes.
    pub(crate) fn read_work(self, useful: u64, executed: u64, work: Work) -> Work {
        match self {
            Self::F32 => work,
            Self::F16 => work.with_ops(OpClass::F32Other, useful, 2 * executed),
            Self::Int8 => work.with_ops(OpClass::F32Other, 2 * useful, 5 * executed),
        }
    }

    /// Adds what writes rows of keys, and of values where they have rows of their own.
    pub(crate) fn store_added(self, values: bool, source: Source) -> Source {
        let source = source.with(match self {
            Self::F32 => fragment!("kv_store/f32.wgsl"),
            Self::F16 => fragment!("kv_store/f16.wgsl"),
            Self::Int8 => fragment!("kv_store/i8.wgsl"),
        });
        source.with(if values { fragment!("kv_out/both.wgsl") } else { fragment!("kv_out/keys.wgsl") })
    }
}

impl fmt::Display for CacheFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for CacheFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|format| format.to_string() == text);
        found.ok_or_else(|| Error::Unsupported {
            what: format!("cache '{text}'"),
            why: "a cache is f32, f16 or int8".into(),
        })
    }
}
