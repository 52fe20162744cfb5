//! The router's choice.

use super::expert_plan::{MAX_EXPERTS, check_choices};
use super::turns::{MOST_ON_CPU, of_loop, of_tree};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{
    ExpertWeight, GroupLimit, InputNorm, InputRows, LaterRule, Reduce, RouteRule, Selection, add_logits,
};
use crate::gpu::Capabilities;
use crate::kernel::check::{at_most, bytes, positive, require};
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
        /// Inputs of the router, where it is computed.
        pub in_features: u32,
        /// `vec4`s of a row of its matrix, padding included.
        pub row_quads: u32,
        /// Of the norm of its input.
        pub eps: f32,
    }
}

impl MoeRouteParams {
    /// The `choices` best of logits that lie together, as they are.
    pub const fn new(choices: u32, logit_stride: u32) -> Self {
        Self {
            choices,
            logit_stride,
            scale: 1.0,
            jitter: 0.0,
            second_offset: 0,
            seed: 0,
            later_share: 0.0,
            in_features: 0,
            row_quads: 0,
            eps: 0.0,
        }
    }
}

/// Where logits come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouterLogits {
    /// A product has left them.
    Stored,
    /// The kernel computes them, for four tokens by a workgroup, and leaves them: of `x` `[rows, K]` and the router's matrix in
    /// f32, `[logit_stride, 4 row_quads]`.
    Computed {
        /// How inputs are read: as floats.
        inputs: InputRows,
        /// Norm of the input.
        norm: InputNorm,
        /// Whether logits have biases, `[logit_stride]`.
        bias: bool,
    },
}

/// Most experts of a router that the kernel computes: beside them it has less workgroup memory.
pub const MAX_COMPUTED: u32 = 512;

/// Tokens of a workgroup that computes logits.
const TOKENS: u32 = 4;
/// Most lanes of a workgroup, as every device has them.
const MAX_LANES: u32 = 256;

/// The `k` best experts of each token, ties to the lower index, and their weights, as a [`RouteRule`] says.
///
/// Logits are `[rows, logit_stride]`, of which the first `E` count; NaN counts as minus infinity. Chosen experts and their
/// weights are `[rows, k]`, best first; a choice that is not used has the expert 2^32 - 1 and the weight 0. Noise and later
/// choices are drawn from a counter over (seed, position, expert or choice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeRoute {
    /// Experts, `E`, at most [`MAX_EXPERTS`].
    pub experts: u32,
    /// Where their logits come from.
    pub logits: RouterLogits,
    /// How logits become a choice with weights.
    pub rule: RouteRule,
    /// How lanes add.
    pub reduce: Reduce,
    /// Lanes of a workgroup, a power of two from 4 to 256.
    pub lanes: u32,
}

impl MoeRoute {
    /// Of logits that a product has left, on any device; others differ from it in some field.
    pub fn new(experts: u32, rule: RouteRule) -> Self {
        Self { experts, logits: RouterLogits::Stored, rule, reduce: Reduce::Workgroup, lanes: 32 }
    }

    /// The same with lanes for a device, so many choices of a token, and a router of so many inputs: a choice is a few experts' worth
    /// of work between barriers, which cost nothing among the lanes of one subgroup. Computing logits wants more lanes, as many as
    /// have something to share. A CPU has as many as [`MoeRoute::fits`] wants.
    #[must_use]
    pub fn for_device(self, choices: u32, in_features: u32, capabilities: &Capabilities) -> Self {
        let fewest: u32 = match (self.logits, capabilities.is_cpu) {
            (RouterLogits::Stored, true) => 8,
            (RouterLogits::Stored, false) => 32,
            (RouterLogits::Computed { .. }, true) => 16,
            (RouterLogits::Computed { .. }, false) => 64,
        };
        let of = |lanes| Self { lanes, ..self };
        let mut all = (fewest.ilog2()..MAX_LANES.ilog2()).map(|log| of(1 << log));
        all.find(|of| of.fits(choices, in_features, capabilities)).unwrap_or(of(MAX_LANES))
    }

    /// Whether a lane comes to the end of its loops on a device: a CPU gives all of them together no more than so many turns.
    pub fn fits(self, choices: u32, in_features: u32, capabilities: &Capabilities) -> bool {
        !capabilities.is_cpu || self.turns(choices, in_features) <= MOST_ON_CPU
    }

    /// Turns of all loops of a lane, at most: each choice looks at all experts, and once more where groups or noise are drawn, and so
    /// does what comes before all choices and after them.
    fn turns(self, choices: u32, in_features: u32) -> u64 {
        let [experts, lanes] = [self.experts, self.lanes].map(u64::from);
        let look = of_loop(experts, lanes, 0) + of_tree(lanes) + 4;
        let of_token = (2 * u64::from(choices) + 16) * look;
        if self.logits == RouterLogits::Stored {
            return of_token;
        }
        // `router/computed.wgsl`: tiles of inputs for each of the rows that a lane has, and the norm of each token.
        let (tokens, quads) = (u64::from(TOKENS), u64::from(in_features.div_ceil(4)));
        let tile_quads = lanes / tokens;
        let parts = lanes / u64::from(self.lane_rows());
        let of_row = of_loop(quads, tile_quads, of_loop(tile_quads, parts, 0)) + parts + tokens;
        let rows = experts * if self.rule.noise || self.rule.nested.is_some() { 2 } else { 1 };
        let norms = tokens * (of_loop(quads, lanes, 0) + of_tree(lanes));
        tokens * of_token + of_loop(rows, self.lane_rows().into(), of_row) + norms
    }

    /// Rows of the router's matrix that lanes share out among them.
    fn lane_rows(self) -> u32 {
        self.experts.next_power_of_two().min(self.lanes)
    }

    /// What computing logits moves and computes, if it is done.
    fn computed_work(self, params: &MoeRouteParams, span: Span) -> Work {
        let RouterLogits::Computed { inputs, norm, bias } = self.logits else { return Work::default() };
        let (rows, outputs) = (u64::from(span.rows), u64::from(params.logit_stride));
        let (width, padded) = (u64::from(params.in_features), 4 * u64::from(params.row_quads));
        let workgroups = self.workgroups(params, span);
        // Inputs pass by once for as many rows of the matrix as there are lanes or experts; rows beyond the last are the last
        // again.
        let lane_rows = u64::from(self.lane_rows());
        let passes = outputs.div_ceil(lane_rows);
        let x = inputs.row_bytes(params.in_features);
        let (executed, rows_read) = (workgroups * u64::from(TOKENS), passes * lane_rows);
        let work = Work::default()
            .with_bytes(ByteClass::ActIn, rows * x, executed * passes * x)
            .with_bytes(ByteClass::Weight, outputs * padded * 4, workgroups * rows_read * padded * 4)
            .with_bytes(ByteClass::ActOut, rows * outputs * 4, rows * outputs * 4)
            .with_ops(OpClass::F32Fma, rows * width * outputs, executed * padded * rows_read);
        let biases = u64::from(bias) * outputs * 4;
        let work = work.with_bytes(ByteClass::Weight, biases, biases * rows);
        norm.work(width, executed, [1, passes], work)
    }
}

impl Kernel for MoeRoute {
    type Params = MoeRouteParams;
    const NAME: &'static str = "moe_route";

    fn source(self) -> Source {
        let source = add_logits(Source::kernel(Self::NAME, fragment!("moe_route.wgsl")))
            .with_span()
            .with(fragment!("reduce/argmax.wgsl"))
            .constant("WORKGROUP_SIZE", self.lanes)
            .constant("EXPERTS", self.experts);
        let source = match self.logits {
            RouterLogits::Stored => source.with(fragment!("router/stored.wgsl")),
            RouterLogits::Computed { inputs, norm, bias } => {
                let source = source.with(fragment!("router/computed.wgsl")).with(match bias {
                    true => fragment!("router_bias/stored.wgsl"),
                    false => fragment!("router_bias/none.wgsl"),
                });
                inputs.add_to(norm.add_to(source)).constant("LANE_ROWS", self.lane_rows())
            }
        };
        self.reduce.add_to(self.rule.add_to(source))
    }

    fn bindings(self) -> Vec<Binding> {
        let written = [Binding::write(3, "expert_of_slot"), Binding::write(7, "weight_of_slot")];
        let logits = match self.logits {
            RouterLogits::Stored => vec![Binding::read(2, "logits")],
            RouterLogits::Computed { norm, bias, .. } => {
                let router =
                    [Binding::write(2, "logits"), Binding::read(4, "x"), Binding::read(10, "router")];
                let biases = bias.then_some(Binding::read(11, "router_biases"));
                router.into_iter().chain(norm.binding()).chain(biases).collect()
            }
        };
        [Binding::PARAMS, Binding::SPAN]
            .into_iter()
            .chain(logits)
            .chain(written)
            .chain(self.rule.bindings())
            .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for experts in [1, 4, 8, 64, 512, MAX_EXPERTS] {
            for rule in RouteRule::variants(experts) {
                let logits = RouterLogits::Stored;
                for lanes in [8, 32] {
                    all.extend(Reduce::ALL.map(|reduce| Self { experts, logits, rule, reduce, lanes }));
                }
            }
        }
        // How logits are chosen from does not hang on where they come from.
        let biased = RouteRule { selection: Selection::Biased, ..RouteRule::SOFTMAX };
        for (n, experts) in [1, 4, 8, 64, 128, MAX_COMPUTED].into_iter().enumerate() {
            for norm in InputNorm::ALL {
                for inputs in InputRows::FLOATS {
                    for bias in [false, true] {
                        let logits = RouterLogits::Computed { inputs, norm, bias };
                        let rule = if n % 2 == 0 { RouteRule::SOFTMAX } else { biased };
                        for lanes in [16, 64] {
                            all.extend(Reduce::ALL.map(|reduce| Self {
                                experts,
                                logits,
                                rule,
                                reduce,
                                lanes,
                            }));
                        }
                    }
                }
            }
        }
        all
    }

    fn check(self, params: &MoeRouteParams) -> Result<()> {
        at_most(Self::NAME, "experts", MAX_EXPERTS, self.experts)?;
        let lanes = self.lanes.is_power_of_two() && (TOKENS..=MAX_LANES).contains(&self.lanes);
        require(Self::NAME, "lanes", lanes, "a power of two from 4 to 256", self.lanes)?;
        check_choices(Self::NAME, self.experts, params.choices)?;
        if let RouterLogits::Computed { inputs, .. } = self.logits {
            at_most(Self::NAME, "experts", MAX_COMPUTED, self.experts)?;
            inputs.check_floats(Self::NAME)?;
            inputs.check(Self::NAME, params.in_features)?;
            positive(Self::NAME, [("in_features", params.in_features)])?;
            let wide = u64::from(params.row_quads) * 4 >= u64::from(params.in_features);
            let expected = format_args!("all of the {} inputs", params.in_features);
            require(Self::NAME, "row_quads", wide, expected, params.row_quads)?;
        }
        self.rule.check(Self::NAME, self.experts, params.choices)?;
        let second = self.rule.second_count(self.experts);
        let end = if second == 0 { self.experts } else { params.second_offset.saturating_add(second) };
        let least = end.max(self.experts);
        let wide = params.logit_stride >= least;
        let expected = format_args!("at least {least}");
        require(Self::NAME, "logit_stride", wide, expected, params.logit_stride)?;
        let shared =
            self.rule.later == LaterRule::Always || (params.later_share > 0.0 && params.later_share <= 1.0);
        require(Self::NAME, "later_share", shared, "above 0 and at most 1", params.later_share)
    }

    fn sizes(self, params: &MoeRouteParams, rows: u32) -> Vec<(&'static str, u64)> {
        let slots = bytes([rows, params.choices]);
        let logits = bytes([rows, params.logit_stride]);
        let stored = self.rule.bindings().map(|binding| (binding.name, bytes([self.experts])));
        let computed = match self.logits {
            RouterLogits::Stored => vec![],
            RouterLogits::Computed { inputs, norm, bias } => {
                let x = inputs.tensor_bytes([rows, 1], params.in_features);
                let router = bytes([params.logit_stride, params.row_quads, 4]);
                let biases = bias.then(|| ("router_biases", bytes([params.logit_stride])));
                [("x", x), ("router", router)]
                    .into_iter()
                    .chain(norm.size(params.in_features))
                    .chain(biases)
                    .collect()
            }
        };
        [("logits", logits), ("expert_of_slot", slots), ("weight_of_slot", slots)]
            .into_iter()
            .chain(stored)
            .chain(computed)
            .collect()
    }

    fn workgroups(self, _: &MoeRouteParams, span: Span) -> u64 {
        match self.logits {
            RouterLogits::Stored => span.rows.into(),
            RouterLogits::Computed { .. } => span.rows.div_ceil(TOKENS).into(),
        }
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
        self.computed_work(params, span)
            .with_bytes(ByteClass::ActIn, read * 4, read * 4)
            .with_bytes(ByteClass::Weight, stored * 4, (biased * logits + scaled * slots) * 4)
            .with_bytes(ByteClass::Index, slots * 8, slots * 8)
            .with_ops(OpClass::Sfu, exps, exps)
            .with_ops(OpClass::F32Other, slots * experts, slots * experts + compared)
    }
}
