//! The experts that chose a token.

use super::expert_plan::MAX_EXPERTS;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::check::{at_most, bytes};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

/// Lanes of a workgroup.
const LANES: u32 = 64;

params! {
    /// The uniform of `moe_list`.
    pub struct MoeListParams {
        /// Experts, `E`.
        pub experts: u32,
    }
}

/// The slots of each token in the order of experts, and how many there are: the slot of each (expert, token), `[E, rows]`, to
/// lists `[rows, E]` and their lengths `[rows]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeList;

impl Kernel for MoeList {
    type Params = MoeListParams;
    const NAME: &'static str = "moe_list";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("moe_list.wgsl"))
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "slot_of_choice"),
            Binding::write(3, "slots_of_token"),
            Binding::write(4, "experts_of_token"),
        ]
    }

    fn variants() -> Vec<Self> {
        vec![Self]
    }

    fn check(self, params: &MoeListParams) -> Result<()> {
        at_most(Self::NAME, "experts", MAX_EXPERTS, params.experts)
    }

    fn sizes(self, params: &MoeListParams, rows: u32) -> Vec<(&'static str, u64)> {
        let table = bytes([rows, params.experts]);
        vec![("slot_of_choice", table), ("slots_of_token", table), ("experts_of_token", bytes([rows]))]
    }

    fn workgroups(self, _: &MoeListParams, span: Span) -> u64 {
        u64::from(span.rows).div_ceil(LANES.into())
    }

    fn work(self, params: &MoeListParams, span: Span) -> Work {
        let (rows, experts) = (u64::from(span.rows), u64::from(params.experts));
        let bytes = (2 * rows * experts + rows) * 4;
        let ops = rows * experts;
        Work::default()
            .with_bytes(ByteClass::Index, bytes, bytes)
            .with_ops(OpClass::I32Alu, ops, ops)
            // What is not chosen is not written.
            .or_less(true)
    }
}
