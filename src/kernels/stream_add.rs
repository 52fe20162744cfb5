//! What is added to all residual streams but the first.

use super::altup::MAX_STREAMS;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{InputNorm, Reduce};
use crate::kernel::check::{bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `stream_add`.
    pub struct StreamAddParams {
        /// Width of a stream, `d`.
        pub in_features: u32,
        /// Added to the mean square or variance.
        pub eps: f32,
    }
}

/// `y[r, a] = streams[r, a] + norm(x[r])`, but for the first stream, which stays as it is (Gemma 3n): `x` is `[rows, d]`, the others
/// `[rows, A, d]`. One workgroup per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamAdd {
    /// Streams, `A`.
    pub streams: u32,
    /// Which norm; [`InputNorm::None`] and [`InputNorm::Affine`] are no variants of this kernel.
    pub norm: InputNorm,
    /// How lanes add.
    pub reduce: Reduce,
}

impl Kernel for StreamAdd {
    type Params = StreamAddParams;
    const NAME: &'static str = "stream_add";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("stream_add.wgsl"))
            .with(fragment!("linear/input.wgsl"))
            .with_span()
            .constant("STREAMS", self.streams)
            .constant("WORKGROUP_SIZE", 64);
        self.reduce.add_to(self.norm.add_to(source))
    }

    fn bindings(self) -> Vec<Binding> {
        [
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(4, "x"),
            Binding::read(6, "streams"),
            Binding::write(7, "y"),
        ]
        .into_iter()
        .chain(self.norm.binding())
        .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for streams in [2, 4] {
            for norm in [InputNorm::Rms, InputNorm::Layer] {
                all.extend(Reduce::ALL.map(|reduce| Self { streams, norm, reduce }));
            }
        }
        all
    }

    fn check(self, params: &StreamAddParams) -> Result<()> {
        let several = (2..=MAX_STREAMS).contains(&self.streams);
        require(Self::NAME, "streams", several, format_args!("2 to {MAX_STREAMS}"), self.streams)?;
        let is_norm = matches!(self.norm, InputNorm::Rms | InputNorm::Layer);
        require(Self::NAME, "norm", is_norm, "a norm", format_args!("{:?}", self.norm))?;
        positive(Self::NAME, [("in_features", params.in_features)])
    }

    fn sizes(self, params: &StreamAddParams, rows: u32) -> Vec<(&'static str, u64)> {
        let all = bytes([rows, self.streams, params.in_features]);
        [("x", bytes([rows, params.in_features])), ("streams", all), ("y", all)]
            .into_iter()
            .chain(self.norm.size(params.in_features))
            .collect()
    }

    fn workgroups(self, _: &StreamAddParams, span: Span) -> u64 {
        u64::from(span.rows)
    }

    fn work(self, params: &StreamAddParams, span: Span) -> Work {
        let (rows, width, streams) =
            (u64::from(span.rows), u64::from(params.in_features), u64::from(self.streams));
        let (read, written) = (rows * width * (1 + streams) * 4, rows * width * streams * 4);
        let work = Work::default()
            .with_bytes(ByteClass::ActIn, read, read)
            .with_bytes(ByteClass::ActOut, written, written)
            .with_ops(OpClass::F32Other, rows * width * (streams - 1), rows * width * streams);
        self.norm.work(width, rows, [1, 1], work)
    }
}
