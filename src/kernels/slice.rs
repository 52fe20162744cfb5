//! Codes of a width from the parent's, on the device.

use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::check::{bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::quant::{Codes, Storage, WeightFormat, Width, row_words};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `slice`.
    pub struct SliceParams {
        /// Inputs of a row.
        pub in_features: u32,
        /// `u32` words of a row of the parent.
        pub row_words: u32,
        /// `u32` words of a sliced row.
        pub sliced_row_words: u32,
        /// Where the first row goes.
        pub first_row: u32,
    }
}

/// Rows `[rows, row_words]` of 8-bit codes, sliced to a width and packed as [`Storage::Sliced`] into the rows from
/// `first_row` on (arXiv 2502.06786, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Bits of a slice, below 8.
    pub width: Width,
    /// Whether slices may lie one above what their bits hold.
    pub extra_precision: bool,
}

/// Lanes of a workgroup.
const LANES: u32 = 64;

impl Slice {
    /// The numbers for rows of so many inputs.
    pub fn params(self, in_features: u32, first_row: u32) -> SliceParams {
        let inputs = in_features as usize;
        let parent = WeightFormat::int(Width::Int8).row_words(inputs) as u32;
        let sliced = row_words(self.codes().planes(), inputs) as u32;
        SliceParams { in_features, row_words: parent, sliced_row_words: sliced, first_row }
    }

    fn codes(self) -> Codes {
        let Self { width, extra_precision } = self;
        Codes { width, storage: Storage::Sliced, extra_precision }
    }
}

impl Kernel for Slice {
    type Params = SliceParams;
    const NAME: &'static str = "slice";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("slice.wgsl"))
            .with(fragment!("codec/parent.wgsl"))
            .with(fragment!("codec/slice.wgsl"))
            .with(fragment!("codec/plane_words.wgsl"))
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
            .constant("WIDTH", self.width.bits())
            .flag("EXTRA", self.extra_precision)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![Binding::PARAMS, Binding::SPAN, Binding::read(2, "words"), Binding::write(4, "sliced")]
    }

    fn variants() -> Vec<Self> {
        let widths = Width::ALL.into_iter().filter(|width| *width != Width::Int8);
        widths
            .flat_map(|width| [false, true].map(|extra_precision| Self { width, extra_precision }))
            .collect()
    }

    fn check(self, params: &SliceParams) -> Result<()> {
        let SliceParams { in_features, row_words, sliced_row_words, first_row } = *params;
        positive(Self::NAME, [("in_features", in_features)])?;
        require(Self::NAME, "width", self.width != Width::Int8, "fewer than 8 bits", self.width)?;
        let exact = self.params(in_features, first_row);
        require(Self::NAME, "row_words", row_words == exact.row_words, exact.row_words, row_words)?;
        let expected = exact.sliced_row_words;
        require(Self::NAME, "sliced_row_words", sliced_row_words == expected, expected, sliced_row_words)
    }

    fn sizes(self, params: &SliceParams, rows: u32) -> Vec<(&'static str, u64)> {
        let end = u64::from(params.first_row) + u64::from(rows);
        let sliced = end * u64::from(params.sliced_row_words) * 4;
        vec![("words", bytes([rows, params.row_words])), ("sliced", sliced)]
    }

    fn workgroups(self, params: &SliceParams, span: Span) -> u64 {
        (u64::from(span.rows) * u64::from(params.in_features.div_ceil(32))).div_ceil(u64::from(LANES))
    }

    fn work(self, params: &SliceParams, span: Span) -> Work {
        let rows = u64::from(span.rows);
        let (read, written) =
            (rows * u64::from(params.row_words) * 4, rows * u64::from(params.sliced_row_words) * 4);
        let codes = rows * u64::from(params.in_features);
        Work::default().with_bytes(ByteClass::Weight, read + written, read + written).with_ops(
            OpClass::Unpack,
            codes,
            codes,
        )
    }
}
