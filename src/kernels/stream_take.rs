//! One of several residual streams alone.

use crate::Result;
use crate::energy::{ByteClass, Work};
use crate::kernel::check::{bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `stream_take`.
    pub struct StreamTakeParams {
        /// Width of a stream, `d`.
        pub width: u32,
        /// Streams, `A`.
        pub count: u32,
        /// The one that is taken.
        pub stream: u32,
    }
}

/// Lanes of a workgroup.
const LANES: u32 = 64;

/// `y[r] = streams[r, stream]`: `[rows, A, d]` to `[rows, d]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamTake;

impl Kernel for StreamTake {
    type Params = StreamTakeParams;
    const NAME: &'static str = "stream_take";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("stream_take.wgsl"))
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![Binding::PARAMS, Binding::SPAN, Binding::read(2, "streams"), Binding::write(3, "y")]
    }

    fn variants() -> Vec<Self> {
        vec![Self]
    }

    fn check(self, params: &StreamTakeParams) -> Result<()> {
        let StreamTakeParams { width, count, stream } = *params;
        positive(Self::NAME, [("width", width), ("count", count)])?;
        require(Self::NAME, "stream", stream < count, format_args!("one of {count}"), stream)
    }

    fn sizes(self, params: &StreamTakeParams, rows: u32) -> Vec<(&'static str, u64)> {
        let StreamTakeParams { width, count, .. } = *params;
        vec![("streams", bytes([rows, count, width])), ("y", bytes([rows, width]))]
    }

    fn workgroups(self, params: &StreamTakeParams, span: Span) -> u64 {
        (u64::from(span.rows) * u64::from(params.width)).div_ceil(u64::from(LANES))
    }

    fn work(self, params: &StreamTakeParams, span: Span) -> Work {
        let bytes = u64::from(span.rows) * u64::from(params.width) * 4;
        Work::default().with_bytes(ByteClass::ActIn, bytes, bytes).with_bytes(ByteClass::ActOut, bytes, bytes)
    }
}
