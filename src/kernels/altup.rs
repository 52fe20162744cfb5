//! Alternating updates: how several residual streams change before and after a layer that works on one of them.

use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::Reduce;
use crate::kernel::check::{at_most, bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

/// Most residual streams.
pub const MAX_STREAMS: u32 = 8;

params! {
    /// The uniform of `altup`.
    pub struct AltupParams {
        /// Width of a stream, `d`.
        pub width: u32,
        /// The stream that sub-layers work on.
        pub active_stream: u32,
        /// Of the router's norm.
        pub eps: f32,
        /// Elements between two rows of the router.
        pub router_stride: u32,
        /// Elements between two rows of the mixing matrix.
        pub mixing_stride: u32,
    }
}

/// A step of alternating updates (AltUp, arXiv 2301.13310, as Gemma 3n has it). With `r = tanh(R norm(x))`, where `x` is a row of the
/// active stream or what a layer has made of it:
///
/// * prediction: `y[j] = s[j] + sum_i (C r)[j A + i] s[i]`; the active one is written twice, for the layer to work on;
/// * correction: `y[j] = s[j] + (1 + (D r)[j]) (x - s[active])`; the active one is written twice, the second time scaled.
///
/// Streams are `[rows, A, d]`, `R` is `[A, d]`, `C` above `D` `[A A + A, A]`. One workgroup per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Altup {
    /// Streams, `A`.
    pub streams: u32,
    /// Which step.
    pub step: AltupStep,
    /// How lanes add.
    pub reduce: Reduce,
}

/// A step: `shaders/altup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AltupStep {
    /// Before a layer.
    Predict,
    /// After it.
    Correct {
        /// Whether what is read of the active stream besides is scaled by stored numbers.
        scaled: bool,
    },
}

impl AltupStep {
    /// Every step.
    pub const ALL: [Self; 3] =
        [Self::Predict, Self::Correct { scaled: false }, Self::Correct { scaled: true }];
}

impl Kernel for Altup {
    type Params = AltupParams;
    const NAME: &'static str = "altup";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("altup.wgsl"))
            .with_span()
            .with(fragment!("common/safe_tanh.wgsl"))
            .constant("STREAMS", self.streams)
            .constant("WORKGROUP_SIZE", 256);
        let source = match self.step {
            AltupStep::Predict => source.with(fragment!("altup/predict.wgsl")),
            AltupStep::Correct { scaled } => {
                source.with(fragment!("altup/correct.wgsl")).with(match scaled {
                    true => fragment!("stream_scale/stored.wgsl"),
                    false => fragment!("stream_scale/none.wgsl"),
                })
            }
        };
        self.reduce.add_to(source)
    }

    fn bindings(self) -> Vec<Binding> {
        let (corrects, scaled) =
            (self.step != AltupStep::Predict, self.step == AltupStep::Correct { scaled: true });
        [
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "streams"),
            Binding::read(3, "router_norm"),
            Binding::read(4, "router"),
            Binding::read(5, "mixing"),
            Binding::write(6, "changed"),
            Binding::write(7, "active_out"),
        ]
        .into_iter()
        .chain(corrects.then_some(Binding::read(8, "activated")))
        .chain(scaled.then_some(Binding::read(9, "stored_scale")))
        .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for streams in [2, 3, 4, MAX_STREAMS] {
            for step in AltupStep::ALL {
                all.extend(Reduce::ALL.map(|reduce| Self { streams, step, reduce }));
            }
        }
        all
    }

    fn check(self, params: &AltupParams) -> Result<()> {
        let AltupParams { width, active_stream, router_stride, mixing_stride, .. } = *params;
        at_most(Self::NAME, "streams", MAX_STREAMS, self.streams)?;
        positive(Self::NAME, [("width", width)])?;
        let is_one = active_stream < self.streams;
        require(Self::NAME, "active_stream", is_one, format_args!("one of {}", self.streams), active_stream)?;
        let wide = router_stride >= width;
        require(Self::NAME, "router_stride", wide, format_args!("at least {width}"), router_stride)?;
        let wide = mixing_stride >= self.streams;
        require(Self::NAME, "mixing_stride", wide, format_args!("at least {}", self.streams), mixing_stride)
    }

    fn sizes(self, params: &AltupParams, rows: u32) -> Vec<(&'static str, u64)> {
        let AltupParams { width, router_stride, mixing_stride, .. } = *params;
        let (all, one) = (bytes([rows, self.streams, width]), bytes([rows, width]));
        [
            ("streams", all),
            ("router_norm", bytes([width])),
            ("router", bytes([self.streams, router_stride])),
            ("mixing", bytes([self.streams, self.streams + 1, mixing_stride])),
            ("changed", all),
            ("active_out", one),
        ]
        .into_iter()
        .chain((self.step != AltupStep::Predict).then_some(("activated", one)))
        .chain((self.step == AltupStep::Correct { scaled: true }).then_some(("stored_scale", bytes([width]))))
        .collect()
    }

    fn workgroups(self, _: &AltupParams, span: Span) -> u64 {
        u64::from(span.rows)
    }

    fn work(self, params: &AltupParams, span: Span) -> Work {
        let (rows, width, streams) = (u64::from(span.rows), u64::from(params.width), u64::from(self.streams));
        let one = rows * width;
        let (coefficients, activated, mixed) = match self.step {
            AltupStep::Predict => (streams * streams, 0, streams * streams),
            AltupStep::Correct { .. } => (streams, 1, streams),
        };
        let scale = u64::from(self.step == AltupStep::Correct { scaled: true });
        let weights = width * (1 + streams + scale) + coefficients * streams;
        let least = one * (streams + activated);
        // The routed row is read once more for its router; what is mixed, as often as it is used.
        let most = one * (1 + mixed + streams + 2 * activated);
        Work::default()
            .with_bytes(ByteClass::Weight, weights * 4, rows * weights * 4)
            .with_bytes(ByteClass::ActIn, least * 4, most * 4)
            .with_bytes(ByteClass::ActOut, one * (streams + 1) * 4, one * (streams + 1) * 4)
            .with_ops(OpClass::F32Fma, one * (1 + streams + mixed), one * (1 + streams + mixed))
            .with_ops(OpClass::F32Fma, rows * coefficients * streams, 256 * rows * coefficients * streams)
            .with_ops(OpClass::F32Other, one * (1 + scale), one * (1 + streams + scale))
            .with_ops(OpClass::Sfu, rows * (1 + streams), 256 * rows * (1 + streams))
    }
}
