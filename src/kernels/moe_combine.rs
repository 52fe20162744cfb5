//! What a token's experts computed, joined.

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

/// `y[t] = residual[t] + shared[t] + sum_j weight[t, j] expert_rows[t, j]`, choices in order, where `shared[t]` is
/// `sigmoid(gates[t, gate_offset]) shared_rows[t]`.
///
/// Expert rows are `[rows, k, d]`, weights `[rows, k]`, gates `[rows, gate_stride]`, the others and the output `[rows, d]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeCombine {
    /// Whether a residual is added.
    pub residual: bool,
    /// Whether a gated expert is added that every token uses.
    pub shared: bool,
    /// Whether rows are weighted. Else their inputs were.
    pub weighted: bool,
}

impl Kernel for MoeCombine {
    type Params = MoeCombineParams;
    const NAME: &'static str = "moe_combine";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("moe_combine.wgsl"))
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
        bindings
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for residual in [false, true] {
            for shared in [false, true] {
                all.extend([false, true].map(|weighted| Self { residual, shared, weighted }));
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
        let mut sizes = vec![("expert_rows", bytes([rows, choices, hidden_size])), ("y", y)];
        if self.weighted {
            sizes.push(("weight_of_slot", bytes([rows, choices])));
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
        let (rows, choices) = (u64::from(span.rows), u64::from(params.choices));
        let elements = rows * u64::from(params.hidden_size);
        let added = elements * (u64::from(self.residual) + u64::from(self.shared));
        let inputs = elements * choices + added;
        let (weights, gates) = (u64::from(self.weighted), u64::from(self.shared));
        Work::default()
            .with_bytes(ByteClass::ActIn, (inputs + gates * rows) * 4, (inputs + gates * elements) * 4)
            .with_bytes(ByteClass::Index, weights * rows * choices * 4, weights * elements * choices * 4)
            .with_bytes(ByteClass::ActOut, elements * 4, elements * 4)
            .with_ops(OpClass::F32Fma, elements * choices, elements * choices)
            .with_ops(OpClass::Sfu, gates * rows, gates * elements)
            .with_ops(OpClass::F32Other, added, added)
    }
}
