//! Experts that no router chooses.

use super::expert_plan::check_choices;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::TokenIds;
use crate::kernel::check::bytes;
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

/// Lanes of a workgroup.
const LANES: u32 = 64;

params! {
    /// The uniform of `moe_lookup`.
    pub struct MoeLookupParams {
        /// Experts, `E`.
        pub experts: u32,
        /// Experts per token, `k`.
        pub choices: u32,
        /// Of the pseudo-random ones.
        pub seed: u32,
    }
}

/// Each token's experts, all with the weight `1 / k`: to `[rows, k]` both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MoeLookup {
    /// From a table `[V, k]`, by the token's id (arXiv 2106.04426).
    Token(TokenIds),
    /// From a table `[tasks, k]`, by the sequence's task (arXiv 2205.12755).
    Task,
    /// Neighbours from a pseudo-random one on, by the token's position (arXiv 2110.04260).
    Random,
}

impl Kernel for MoeLookup {
    type Params = MoeLookupParams;
    const NAME: &'static str = "moe_lookup";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("moe_lookup.wgsl"));
        let source = match self {
            Self::Token(ids) => source.with(fragment!("lookup/token.wgsl")).with(ids.fragment()),
            Self::Task => source.with(fragment!("lookup/task.wgsl")),
            Self::Random => {
                source.with(fragment!("lookup/random.wgsl")).with(fragment!("common/random.wgsl"))
            }
        };
        source.with_span().with(fragment!("entry/plain.wgsl")).constant("WORKGROUP_SIZE", LANES)
    }

    fn bindings(self) -> Vec<Binding> {
        let table = Binding::read(3, "expert_table");
        let keys = match self {
            Self::Token(_) => vec![TokenIds::BINDING, table],
            Self::Task => vec![table],
            Self::Random => vec![],
        };
        let written = [Binding::write(4, "expert_of_slot"), Binding::write(5, "weight_of_slot")];
        [Binding::PARAMS, Binding::SPAN].into_iter().chain(keys).chain(written).collect()
    }

    fn variants() -> Vec<Self> {
        TokenIds::ALL.map(Self::Token).into_iter().chain([Self::Task, Self::Random]).collect()
    }

    fn check(self, params: &MoeLookupParams) -> Result<()> {
        check_choices(Self::NAME, params.experts, params.choices)
    }

    fn sizes(self, params: &MoeLookupParams, rows: u32) -> Vec<(&'static str, u64)> {
        let slots = bytes([rows, params.choices]);
        // How many rows the table has the numbers do not say.
        let table = ("expert_table", bytes([params.choices]));
        let keys = match self {
            Self::Token(_) => vec![TokenIds::size(rows), table],
            Self::Task => vec![table],
            Self::Random => vec![],
        };
        keys.into_iter().chain([("expert_of_slot", slots), ("weight_of_slot", slots)]).collect()
    }

    fn workgroups(self, params: &MoeLookupParams, span: Span) -> u64 {
        (u64::from(span.rows) * u64::from(params.choices)).div_ceil(LANES.into())
    }

    fn work(self, params: &MoeLookupParams, span: Span) -> Work {
        let (rows, choices) = (u64::from(span.rows), u64::from(params.choices));
        let slots = rows * choices;
        let (keys, rows_of_table) = match self {
            Self::Token(_) => (rows, rows),
            Self::Task => (0, 1),
            Self::Random => (0, 0),
        };
        let read =
            (keys + rows_of_table * choices, slots * (u64::from(keys > 0) + u64::from(rows_of_table > 0)));
        Work::default()
            .with_bytes(ByteClass::Index, (read.0 + 2 * slots) * 4, (read.1 + 2 * slots) * 4)
            .with_ops(OpClass::I32Alu, slots, slots)
    }
}
