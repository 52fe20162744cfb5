//! The residual streams that a token begins with, and what they are joined to.

use super::altup::MAX_STREAMS;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::Reduce;
use crate::kernel::check::{bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `stream_match`.
    pub struct StreamMatchParams {
        /// Width of a stream, `d`.
        pub width: u32,
        /// Elements between two rows of `x`.
        pub x_stride: u32,
        /// The mean square of a projection counts as no less.
        pub least_square: f32,
    }
}

/// `x` and its `A - 1` projections, made as large as `x`: `p_i rms(x) / rms(p_i)`, side by side or as their mean (AltUp in Gemma 3n).
///
/// `x` is `[rows, x_stride]`, of which the first `d` count, projections are `[rows, A - 1, d]`, the output `[rows, A, d]` or
/// `[rows, d]`. One workgroup per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamMatch {
    /// Streams, `A`.
    pub streams: u32,
    /// Whether the output is their mean.
    pub mean: bool,
    /// How lanes add.
    pub reduce: Reduce,
}

impl StreamMatch {
    /// Outputs of a row, in rows of `d`.
    fn outputs(self) -> u32 {
        if self.mean { 1 } else { self.streams }
    }
}

impl Kernel for StreamMatch {
    type Params = StreamMatchParams;
    const NAME: &'static str = "stream_match";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("stream_match.wgsl"))
            .with_span()
            .with(match self.mean {
                true => fragment!("streams/mean.wgsl"),
                false => fragment!("streams/each.wgsl"),
            })
            .constant("STREAMS", self.streams)
            .constant("WORKGROUP_SIZE", 256);
        self.reduce.add_to(source)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "x"),
            Binding::read(3, "projections"),
            Binding::write(4, "y"),
        ]
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for streams in [2, 4, MAX_STREAMS] {
            for mean in [false, true] {
                all.extend(Reduce::ALL.map(|reduce| Self { streams, mean, reduce }));
            }
        }
        all
    }

    fn check(self, params: &StreamMatchParams) -> Result<()> {
        let StreamMatchParams { width, x_stride, least_square } = *params;
        let several = (2..=MAX_STREAMS).contains(&self.streams);
        require(Self::NAME, "streams", several, format_args!("2 to {MAX_STREAMS}"), self.streams)?;
        positive(Self::NAME, [("width", width)])?;
        require(Self::NAME, "x_stride", x_stride >= width, format_args!("at least {width}"), x_stride)?;
        require(Self::NAME, "least_square", least_square > 0.0, "a positive number", least_square)
    }

    fn sizes(self, params: &StreamMatchParams, rows: u32) -> Vec<(&'static str, u64)> {
        let StreamMatchParams { width, x_stride, .. } = *params;
        vec![
            ("x", bytes([rows, x_stride])),
            ("projections", bytes([rows, self.streams - 1, width])),
            ("y", bytes([rows, self.outputs(), width])),
        ]
    }

    fn workgroups(self, _: &StreamMatchParams, span: Span) -> u64 {
        u64::from(span.rows)
    }

    fn work(self, params: &StreamMatchParams, span: Span) -> Work {
        let (rows, streams) = (u64::from(span.rows), u64::from(self.streams));
        let one = rows * u64::from(params.width);
        let out = one * u64::from(self.outputs()) * 4;
        Work::default()
            .with_bytes(ByteClass::ActIn, one * streams * 4, 2 * one * streams * 4)
            .with_bytes(ByteClass::ActOut, out, out)
            .with_ops(OpClass::F32Fma, one * streams, one * streams)
            .with_ops(OpClass::F32Other, one * streams, 2 * one * streams)
            .with_ops(OpClass::Sfu, rows * streams, 256 * rows * streams)
    }
}
