//! `shaders/epilogue`, `shaders/bias`, `shaders/residual`, `shaders/slot_weight`, `shaders/factor`: what happens to a sum before it is stored.

use super::Activate;
use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::Binding;
use crate::kernel::check::bytes;
use crate::kernels::linear::LinearParams;
use crate::shader::{Fragment, Source, fragment};

/// What happens to a sum before it is stored: bias, activation or gate, factor, residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epilogue {
    /// The elementwise function.
    pub activate: Activate,
    /// Whether rows come in pairs, gate then up, that give one output.
    pub gated: bool,
    /// Whether a bias is added first.
    pub bias: bool,
    /// Whether a residual is added last.
    pub residual: bool,
    /// Whether the sum is first multiplied by its slot's weight, as if the expert's input were. Not beside a bias.
    pub slot_weight: bool,
    /// Whether the activated sum is multiplied by an element of another tensor. Not of gated pairs.
    pub factor: bool,
}

impl Epilogue {
    /// The sum as it is.
    pub const NONE: Self = Self {
        activate: Activate::Identity,
        gated: false,
        bias: false,
        residual: false,
        slot_weight: false,
        factor: false,
    };

    /// Every epilogue a forward pass uses.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self { activate: Activate::Softcap, ..Self::NONE }];
        all.extend(Activate::FEED_FORWARD.map(|activate| Self { activate, factor: true, ..Self::NONE }));
        for bias in [false, true] {
            all.push(Self { activate: Activate::Scale, bias, ..Self::NONE });
            for residual in [false, true] {
                all.push(Self { bias, residual, ..Self::NONE });
            }
            for activate in Activate::FEED_FORWARD {
                for gated in [false, true] {
                    all.push(Self { activate, gated, bias, ..Self::NONE });
                }
            }
            all.push(Self { activate: Activate::ClampedGlu, gated: true, bias, ..Self::NONE });
        }
        all
    }

    /// Those of experts whose inputs are weighted.
    pub fn of_weighted_inputs() -> Vec<Self> {
        let silu = Self { activate: Activate::Silu, gated: true, slot_weight: true, ..Self::NONE };
        vec![silu, Self { gated: false, ..silu }]
    }

    /// Adds its fragments.
    pub(crate) fn add_to(self, source: Source) -> Source {
        let source = self.activate.add_to(source, self.gated).with(match self.slot_weight {
            true => fragment!("slot_weight/stored.wgsl"),
            false => fragment!("slot_weight/one.wgsl"),
        });
        let source =
            source.with(if self.bias { fragment!("bias/add.wgsl") } else { fragment!("bias/none.wgsl") });
        if self.gated {
            return source.with(fragment!("epilogue/glu.wgsl"));
        }
        source.with(residual_fragment(self.residual)).with(fragment!("epilogue/plain.wgsl")).with(match self
            .factor
        {
            true => fragment!("factor/stored.wgsl"),
            false => fragment!("factor/one.wgsl"),
        })
    }

    /// Its bindings, the output among them.
    pub(crate) fn bindings(self) -> impl Iterator<Item = Binding> {
        let bias = self.bias.then_some(Binding::read(5, "bias"));
        let residual = self.residual.then_some(Binding::read(6, "residual"));
        let slot_weight = self.slot_weight.then_some(Binding::read(12, "weight_of_slot"));
        let factor = self.factor.then_some(Binding::read(13, "factors"));
        let read = bias.into_iter().chain(residual).chain(slot_weight).chain(factor);
        read.chain([Binding::write(7, "y")])
    }

    /// What it moves and computes for `rows` rows of `params.out_features` sums each.
    pub(crate) fn work(self, params: &LinearParams, rows: u64, work: Work) -> Work {
        let sums = rows * u64::from(params.out_features);
        let outputs = if self.gated { sums / 2 } else { sums };
        let mut work = work.with_bytes(ByteClass::ActOut, outputs * 4, outputs * 4);
        if self.bias {
            work = work.with_bytes(ByteClass::Weight, u64::from(params.out_features) * 4, sums * 4);
            work = work.with_ops(OpClass::F32Other, sums, sums);
        }
        if self.residual {
            work = work.with_bytes(ByteClass::ActIn, outputs * 4, outputs * 4);
            work = work.with_ops(OpClass::F32Other, outputs, outputs);
        }
        if self.slot_weight {
            work = work.with_bytes(ByteClass::Index, rows * 4, sums * 4);
            work = work.with_ops(OpClass::F32Other, sums, sums);
        }
        if self.factor {
            work = work.with_bytes(ByteClass::ActIn, outputs * 4, outputs * 4);
            work = work.with_ops(OpClass::F32Other, outputs, outputs);
        }
        match self.activate {
            Activate::Identity => work,
            Activate::Scale => work.with_ops(OpClass::F32Other, outputs, outputs),
            _ => work.with_ops(OpClass::Sfu, outputs, outputs),
        }
    }

    /// Bytes of the output of so many rows for so many tokens, and of what is added to it.
    pub(crate) fn sizes(
        self,
        params: &LinearParams,
        matrices: u32,
        [tokens, rows]: [u32; 2],
    ) -> impl Iterator<Item = (&'static str, u64)> {
        let y = bytes([tokens, rows, params.out_stride]);
        let bias = self.bias.then_some(("bias", bytes([matrices, params.out_features])));
        let residual = self.residual.then_some(("residual", y));
        let slot_weight = self.slot_weight.then_some(("weight_of_slot", bytes([tokens, rows])));
        let factor = self.factor.then_some(("factors", bytes([tokens, rows, params.factor_stride])));
        bias.into_iter().chain(residual).chain(slot_weight).chain(factor).chain([("y", y)])
    }
}

/// The fragment that adds a residual, or does not.
pub(crate) fn residual_fragment(residual: bool) -> Fragment {
    if residual { fragment!("residual/add.wgsl") } else { fragment!("residual/none.wgsl") }
}
