//! Attention of prompts on cooperative matrices, where a device has them.

use super::attention::{Attention, AttentionParams, Steps, work_of};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Phase, Work};
use crate::fragments::MatrixSize;
use crate::kernel::check::require;
use crate::kernel::{Binding, Kernel, Span, distinct};
use crate::shader::{Source, fragment};

/// Keys that a workgroup looks at at a time.
const KEYS: u32 = 32;

/// Elements of queries and keys, or of values, that wait in workgroup memory.
const DEPTH: u32 = 64;

/// Lanes of a workgroup: a subgroup of its own for every column of matrices in a slice.
const LANES: u32 = 256;
const _: () = assert!(LANES >= DEPTH / MatrixSize::Eight.side() * MatrixSize::Eight.widest_subgroup());
const _: () = assert!(LANES >= DEPTH / MatrixSize::Sixteen.side() * MatrixSize::Sixteen.widest_subgroup());

/// What an [`Attention`] of a prompt computes, with the same tensors, from queries, keys and values rounded to f16; sums are f32, and
/// so is the softmax, whose weights are rounded to f16 in turn.
///
/// Queries are off by up to `2^-10` of themselves, and those below `2^-28` of their row's largest may become 0; so are weights, and
/// those below `2^-20` of a query's largest. Keys and values are off by as much; below `2^-14` they may become 0, and beyond
/// 65504 they are cut off. What raises of the weights' reference take is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttentionCoop {
    /// Which attention: of a prompt, with [`AttentionCoop::QUERIES`] that share a pass over the keys.
    pub attention: Attention,
    /// The matrices it is composed of.
    pub size: MatrixSize,
}

impl AttentionCoop {
    /// Queries of a key/value head that share a workgroup.
    pub const QUERIES: u32 = 32;

    /// The same attention on cooperative matrices; nothing of a step.
    pub fn of(attention: Attention, size: MatrixSize) -> Option<Self> {
        let attention = Attention { queries: Self::QUERIES, ..attention };
        (attention.phase == Phase::Prefill).then_some(Self { attention, size })
    }

    fn steps(self) -> Steps {
        let side = self.size.side();
        let key_width = u64::from(self.attention.head_dim.next_multiple_of(side));
        let value_width = u64::from(self.attention.values.dim().next_multiple_of(side));
        Steps { keys: KEYS, key_width, value_width, whole: true, class: OpClass::CoopFma }
    }
}

impl Kernel for AttentionCoop {
    type Params = AttentionParams;
    const NAME: &'static str = "attention_coop";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("attention_coop.wgsl"))
            .constant("KEYS", KEYS)
            .constant("DEPTH", DEPTH)
            .constant("WORKGROUP_SIZE", LANES);
        self.attention.add_to(self.size.add_to(source))
    }

    fn bindings(self) -> Vec<Binding> {
        self.attention.bindings()
    }

    fn variants() -> Vec<Self> {
        let sizes = |attention| MatrixSize::ALL.map(|size| Self::of(attention, size));
        distinct(Attention::variants().into_iter().flat_map(sizes).flatten().collect())
    }

    fn check(self, params: &AttentionParams) -> Result<()> {
        let Attention { phase, queries, .. } = self.attention;
        require(Self::NAME, "phase", phase == Phase::Prefill, "a prompt", "a step")?;
        let expected = format_args!("{}", Self::QUERIES);
        require(Self::NAME, "queries", queries == Self::QUERIES, expected, queries)?;
        self.attention.check_for(Self::NAME, params)
    }

    fn sizes(self, params: &AttentionParams, rows: u32) -> Vec<(&'static str, u64)> {
        self.attention.sizes(params, rows)
    }

    fn workgroups(self, params: &AttentionParams, span: Span) -> u64 {
        self.attention.workgroups(params, span)
    }

    fn workgroups_of(self, params: &AttentionParams, spans: &[Span]) -> u64 {
        self.attention.workgroups_of(params, spans)
    }

    fn work(self, params: &AttentionParams, span: Span) -> Work {
        self.work_of(params, &[span])
    }

    fn work_of(self, params: &AttentionParams, spans: &[Span]) -> Work {
        let of_keys = work_of(self.attention, self.steps(), params, spans);
        // Queries are read once more for their magnitudes, and are scaled with every tile of keys.
        let compared = self.workgroups_of(params, spans) * u64::from(Self::QUERIES * self.attention.head_dim);
        let scaled = of_keys.bytes_of(ByteClass::ActIn).most / 4;
        of_keys.with_bytes(ByteClass::ActIn, 0, 4 * compared).with_ops(
            OpClass::F32Other,
            0,
            compared + scaled,
        )
    }
}
