//! What a token's experts computed, joined.

use super::expert_plan::{ChosenSlots, ExpertShare};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::residual_fragment;
use crate::kernel::check::{bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `moe_combine`.
    pub struct MoeCombineParams {
        /// Width of a row, `d`.
        pub hidden_size: u32,
        /// Experts per token, `k`.
        pub choices: u32,
        /// Elements between the gates of the shared expert of two tokens.
        pub gate_stride: u32,
        /// Where the gate is among them.
        pub gate_offset: u32,
    }
}

/// Lanes of a workgroup.
const LANES: u32 = 64;

/// Which slots of a token have rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CombineSlots {
    /// All of its choices.
    All,
    /// Those of its choices that have a place, `[rows, k]`; 2^32 - 1 is none.
    Placed,
    /// Those of experts that chose it: a list `[rows, k]`, `k` being all experts, and the length of each, `[rows]`.
    Listed(ChosenSlots),
}

impl CombineSlots {
    fn add_to(self, source: Source) -> Source {
        source.with(match self {
            Self::All => fragment!("combine_slots/all.wgsl"),
            Self::Placed => fragment!("combine_slots/placed.wgsl"),
            Self::Listed(_) => fragment!("combine_slots/listed.wgsl"),
        })
    }

    fn bindings(self) -> Vec<Binding> {
        match self {
            Self::All => vec![],
            Self::Placed => vec![Binding::read(8, "place_of_slot")],
            Self::Listed(_) => {
                vec![Binding::read(8, "slots_of_token"), Binding::read(9, "experts_of_token")]
            }
        }
    }
}

/// `y[t] = residual[t] + shared[t] + sum_j weight[s] expert_rows[s]`, over the slots `s` of a token in order, where `shared[t]`
/// is `sigmoid(gates[t, gate_offset]) shared_rows[t]`.
///
/// Expert rows are `[slots, d]`, weights `[slots]`, gates `[rows, gate_stride]`, the others and the output `[rows, d]`. There
/// are `rows k` slots, the choices of each token neighbours; where they are listed, as many as the list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeCombine {
    /// Whether a residual is added.
    pub residual: bool,
    /// Whether a gated expert is added that every token uses.
    pub shared: bool,
    /// Whether rows are weighted. Else their inputs were.
    pub weighted: bool,
    /// Which slots have rows.
    pub slots: CombineSlots,
}

impl Kernel for MoeCombine {
    type Params = MoeCombineParams;
    const NAME: &'static str = "moe_combine";

    fn source(self) -> Source {
        let source = self.slots.add_to(Source::kernel(Self::NAME, fragment!("moe_combine.wgsl")));
        let source = if self.shared { source.with(fragment!("common/sigmoid.wgsl")) } else { source };
        source
            .with(residual_fragment(self.residual))
            .with(match self.shared {
                true => fragment!("shared_expert/gated.wgsl"),
                false => fragment!("shared_expert/none.wgsl"),
            })
            .with(match self.weighted {
                true => fragment!("combine_weight/stored.wgsl"),
                false => fragment!("combine_weight/one.wgsl"),
            })
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
    }

    fn bindings(self) -> Vec<Binding> {
        let mut bindings = vec![Binding::PARAMS, Binding::SPAN, Binding::read(2, "expert_rows")];
        if self.weighted {
            bindings.push(Binding::read(3, "weight_of_slot"));
        }
        if self.shared {
            bindings.extend([Binding::read(4, "shared_rows"), Binding::read(5, "gates")]);
        }
        bindings.push(Binding::write(7, "y"));
        if self.residual {
            bindings.push(Binding::read(6, "residual"));
        }
        bindings.extend(self.slots.bindings());
        bindings
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for residual in [false, true] {
            for shared in [false, true] {
                let all_slots = CombineSlots::All;
                all.extend([false, true].map(|weighted| Self { residual, shared, weighted, slots: all_slots }));
                let listed = CombineSlots::Listed(ChosenSlots { experts: 8, share: ExpertShare::ALL });
                for slots in [CombineSlots::Placed, listed] {
                    all.push(Self { residual, shared, weighted: true, slots });
                }
            }
        }
        all
    }

    fn check(self, params: &MoeCombineParams) -> Result<()> {
        positive(Self::NAME, [("hidden_size", params.hidden_size), ("choices", params.choices)])?;
        let MoeCombineParams { gate_stride, gate_offset, .. } = *params;
        let inside = !self.shared || gate_offset < gate_stride;
        require(Self::NAME, "gate_offset", inside, format_args!("below {gate_stride}"), gate_offset)
    }

    fn sizes(self, params: &MoeCombineParams, rows: u32) -> Vec<(&'static str, u64)> {
        let MoeCombineParams { hidden_size, choices, gate_stride, .. } = *params;
        let y = bytes([rows, hidden_size]);
        let [many, each] = match self.slots {
            CombineSlots::Listed(chosen) => [chosen.of(rows), 1],
            CombineSlots::All | CombineSlots::Placed => [rows, choices],
        };
        let mut sizes = vec![("expert_rows", bytes([many, each, hidden_size])), ("y", y)];
        if self.weighted {
            sizes.push(("weight_of_slot", bytes([many, each])));
        }
        match self.slots {
            CombineSlots::All => {}
            CombineSlots::Placed => sizes.push(("place_of_slot", bytes([rows, choices]))),
            CombineSlots::Listed(_) => {
                let list = bytes([rows, choices]);
                sizes.extend([("slots_of_token", list), ("experts_of_token", bytes([rows]))]);
            }
        }
        if self.shared {
            sizes.extend([("shared_rows", y), ("gates", bytes([rows, gate_stride]))]);
        }
        if self.residual {
            sizes.push(("residual", y));
        }
        sizes
    }

    fn workgroups(self, params: &MoeCombineParams, span: Span) -> u64 {
        (u64::from(span.rows) * u64::from(params.hidden_size)).div_ceil(u64::from(LANES))
    }

    fn work(self, params: &MoeCombineParams, span: Span) -> Work {
        let rows = u64::from(span.rows);
        let (slots, marks) = match self.slots {
            CombineSlots::All => (rows * u64::from(params.choices), 0),
            CombineSlots::Placed => (rows * u64::from(params.choices), rows * u64::from(params.choices)),
            CombineSlots::Listed(chosen) => {
                let slots = u64::from(chosen.of(span.rows));
                (slots, slots + rows)
            }
        };
        let width = u64::from(params.hidden_size);
        let elements = rows * width;
        let added = elements * (u64::from(self.residual) + u64::from(self.shared));
        let inputs = slots * width + added;
        let (weights, gates) = (u64::from(self.weighted), u64::from(self.shared));
        Work::default()
            .with_bytes(ByteClass::ActIn, (inputs + gates * rows) * 4, (inputs + gates * elements) * 4)
            .with_bytes(ByteClass::Index, weights * slots * 4, weights * slots * width * 4)
            .with_bytes(ByteClass::Index, marks * 4, marks * width * 4)
            .with_bytes(ByteClass::ActOut, elements * 4, elements * 4)
            .with_ops(OpClass::F32Fma, slots * width, slots * width)
            .with_ops(OpClass::Sfu, gates * rows, gates * elements)
            .with_ops(OpClass::F32Other, added, added)
            // How many choices have a place only the device knows.
            .or_less(self.slots == CombineSlots::Placed)
    }
}
