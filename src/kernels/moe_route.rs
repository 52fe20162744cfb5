//! The router's choice.

use super::expert_plan::check_choices;
use super::moe_scan::MAX_EXPERTS;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{ExpertWeight, GroupLimit, LaterRule, Reduce, RouteRule, Selection};
use crate::kernel::check::{at_most, bytes, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `moe_route`.
    pub struct MoeRouteParams {
        /// Experts per token, `k`.
        pub choices: u32,
        /// Elements between the logits of two tokens, at least `E`.
        pub logit_stride: u32,
        /// Multiplies every weight.
        pub scale: f32,
        /// How near logits must be to the best to have a part in a sparse mixer.
        pub jitter: f32,
        /// Where the spreads of noise, or the logits of groups, begin among those of a token.
        pub second_offset: u32,
        /// Of noise, and of choices that are sampled.
        pub seed: u32,
        /// Of the first weight, what later ones must have to be used.
        pub later_share: f32,
    }
}

impl MoeRouteParams {
    /// The `choices` best of logits that lie together, as they are.
    pub fn new(choices: u32, logit_stride: u32) -> Self {
        Self {
            choices,
            logit_stride,
            scale: 1.0,
            jitter: 0.0,
            second_offset: 0,
            seed: 0,
            later_share: 0.0,
        }
    }
}

/// The `k` best experts of each token, ties to the lower index, and their weights, as a [`RouteRule`] says.
///
/// Logits are `[rows, logit_stride]`, of which the first `E` count; NaN counts as minus infinity. Chosen experts and their
/// weights are `[rows, k]`, best first; a choice that is not used has the expert 2^32 - 1 and the weight 0. Noise and later
/// choices are drawn from a counter over (seed, position, expert or choice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeRoute {
    /// Experts, `E`, at most [`MAX_EXPERTS`].
    pub experts: u32,
    /// How logits become a choice with weights.
    pub rule: RouteRule,
    /// How lanes add.
    pub reduce: Reduce,
}

impl Kernel for MoeRoute {
    type Params = MoeRouteParams;
    const NAME: &'static str = "moe_route";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("moe_route.wgsl"))
            .with_span()
            .with(fragment!("reduce/argmax.wgsl"))
            .constant("EXPERTS", self.experts);
        self.reduce.add_to(self.rule.add_to(source))
    }

    fn bindings(self) -> Vec<Binding> {
        [
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "logits"),
            Binding::write(3, "expert_of_slot"),
            Binding::write(4, "weight_of_slot"),
        ]
        .into_iter()
        .chain(self.rule.bindings())
        .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for experts in [1, 4, 8, 64, 512, MAX_EXPERTS] {
            for rule in RouteRule::variants(experts) {
                all.extend(Reduce::ALL.map(|reduce| Self { experts, rule, reduce }));
            }
        }
        all
    }

    fn check(self, params: &MoeRouteParams) -> Result<()> {
        at_most(Self::NAME, "experts", MAX_EXPERTS, self.experts)?;
        check_choices(Self::NAME, self.experts, params.choices)?;
        self.rule.check(Self::NAME, self.experts, params.choices)?;
        let second = self.rule.second_count(self.experts);
        let end = if second == 0 { self.experts } else { params.second_offset.saturating_add(second) };
        let least = end.max(self.experts);
        let wide = params.logit_stride >= least;
        let expected = format_args!("at least {least}");
        require(Self::NAME, "logit_stride", wide, expected, params.logit_stride)?;
        let shared = self.rule.later == LaterRule::Always
            || (params.later_share > 0.0 && params.later_share <= 1.0);
        require(Self::NAME, "later_share", shared, "above 0 and at most 1", params.later_share)
    }

    fn sizes(self, params: &MoeRouteParams, rows: u32) -> Vec<(&'static str, u64)> {
        let slots = bytes([rows, params.choices]);
        let logits = bytes([rows, params.logit_stride]);
        let stored = self.rule.bindings().map(|binding| (binding.name, bytes([self.experts])));
        [("logits", logits), ("expert_of_slot", slots), ("weight_of_slot", slots)]
            .into_iter()
            .chain(stored)
            .collect()
    }

    fn workgroups(self, _: &MoeRouteParams, span: Span) -> u64 {
        u64::from(span.rows)
    }

    fn work(self, params: &MoeRouteParams, span: Span) -> Work {
        let (rows, experts) = (u64::from(span.rows), u64::from(self.experts));
        let (logits, slots) = (rows * experts, rows * u64::from(params.choices));
        let mut exps = match self.rule.weight {
            ExpertWeight::Softmax => logits + slots,
            ExpertWeight::Sigmoid | ExpertWeight::Logit => slots,
            ExpertWeight::SparseMixer => slots * experts,
        };
        if self.rule.selection != Selection::Logits {
            exps += logits;
        }
        // Of noise, the softplus of a spread and the logarithm of a normal number.
        exps += if self.rule.noise { 3 * logits } else { 0 };
        let read = logits + rows * u64::from(self.rule.second_count(self.experts));
        // A bias is read for every expert, a factor for the chosen ones.
        let biased = u64::from(self.rule.selection == Selection::Biased);
        let scaled = u64::from(self.rule.expert_scale);
        let stored = biased * experts + scaled * experts.min(slots);
        let compared = match self.rule.groups {
            Some(GroupLimit { groups, .. }) => logits + rows * u64::from(groups).pow(2),
            None => 0,
        };
        Work::default()
            .with_bytes(ByteClass::ActIn, read * 4, read * 4)
            .with_bytes(ByteClass::Weight, stored * 4, (biased * logits + scaled * slots) * 4)
            .with_bytes(ByteClass::Index, slots * 8, slots * 8)
            .with_ops(OpClass::Sfu, exps, exps)
            .with_ops(OpClass::F32Other, slots * experts, slots * experts + compared)
    }
}
