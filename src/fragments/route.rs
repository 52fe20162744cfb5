//! `shaders/expert_weight`, `shaders/selection`, `shaders/expert_groups`, `shaders/expert_scale`, `shaders/router_noise`,
//! `shaders/later`, `shaders/normalize`: how a router's logits become a choice of experts with weights.

use crate::Result;
use crate::kernel::Binding;
use crate::kernel::check::require;
use crate::shader::{Source, fragment};

/// The largest logit that routers compute with; infinity counts as it.
pub const LARGEST_LOGIT: f32 = 3.2e38;

/// Adds what routers take logits for.
pub(crate) fn add_logits(source: Source) -> Source {
    source.with(fragment!("common/logits.wgsl")).float("LARGEST_LOGIT", LARGEST_LOGIT)
}

/// From logits to the weights of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpertWeight {
    /// A softmax over all experts.
    Softmax,
    /// A sigmoid of each.
    Sigmoid,
    /// A softmax over those that remain and are near the best of them.
    SparseMixer,
    /// The logit itself, until all that is chosen is known.
    Logit,
}

/// What experts are chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selection {
    /// Their logits.
    Logits,
    /// Their scores.
    Scores,
    /// Their scores and a stored bias.
    Biased,
}

/// Groups of experts, of which the best few can be chosen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupLimit {
    /// How many there are.
    pub groups: u32,
    /// How many can be chosen from.
    pub limit: u32,
    /// Whether a group is worth the sum of its two best experts, not its best.
    pub two_best: bool,
}

/// Groups of experts with logits of their own: as many experts are chosen of each of the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NestedGroups {
    /// How many there are.
    pub groups: u32,
    /// How many are chosen.
    pub top_groups: u32,
}

/// When choices after the first are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaterRule {
    /// Always.
    Always,
    /// Where their weight is at least a share of the first one's.
    AtLeast,
    /// With a probability of their weight over a share of the first one's.
    Sampled,
}

/// How a router's logits become a choice of experts with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteRule {
    /// From logits to weights.
    pub weight: ExpertWeight,
    /// What experts are chosen by.
    pub selection: Selection,
    /// Of which groups, if not of all.
    pub groups: Option<GroupLimit>,
    /// Whether the `k` weights are divided by their sum.
    pub renormalize: bool,
    /// Whether weights are multiplied by a stored number of each expert.
    pub expert_scale: bool,
    /// Groups that are chosen first. They go with [`ExpertWeight::Logit`] alone.
    pub nested: Option<NestedGroups>,
    /// Whether logits have noise.
    pub noise: bool,
    /// When choices after the first are used.
    pub later: LaterRule,
}

/// Draws for the noise of a token's experts are those of their indices; those for its later choices begin here.
pub const FIRST_LATER_DRAW: u32 = 1 << 16;

/// Workgroup memory that every device has.
const MAX_WORKGROUP_BYTES: u64 = 16_384;

impl NestedGroups {
    fn check(self, kernel: &'static str, experts: u32, choices: u32) -> Result<()> {
        let Self { groups, top_groups } = self;
        let divides = groups > 0 && experts.is_multiple_of(groups);
        require(kernel, "groups", divides, format_args!("a divisor of the {experts} experts"), groups)?;
        let some = (1..=groups).contains(&top_groups);
        require(kernel, "top_groups", some, format_args!("1 to {groups}"), top_groups)?;
        let even = choices.is_multiple_of(top_groups) && choices / top_groups <= experts / groups;
        let expected = format_args!("as many of each of {top_groups} groups of {}", experts / groups);
        require(kernel, "choices", even, expected, choices)
    }
}

impl RouteRule {
    /// The largest logits, weighted by softmax over all experts.
    pub const SOFTMAX: Self = Self {
        weight: ExpertWeight::Softmax,
        selection: Selection::Logits,
        groups: None,
        renormalize: false,
        expert_scale: false,
        nested: None,
        noise: false,
        later: LaterRule::Always,
    };

    /// Rules that show every arm, those of published models among them.
    pub(crate) fn variants(experts: u32) -> Vec<Self> {
        let mut all = Vec::new();
        for renormalize in [false, true] {
            for weight in [ExpertWeight::Softmax, ExpertWeight::Sigmoid] {
                for selection in [Selection::Logits, Selection::Scores, Selection::Biased] {
                    let rule = Self { weight, selection, renormalize, ..Self::SOFTMAX };
                    all.push(rule);
                    for (groups, limit, two_best) in
                        [(2, 1, false), (4, 2, false), (2, 1, true), (4, 3, true), (512, 300, false)]
                    {
                        let size = if experts.is_multiple_of(groups) { experts / groups } else { 0 };
                        // Sums are of scores.
                        let has_sums = !two_best || (size > 1 && selection != Selection::Logits);
                        if size > 0 && has_sums {
                            all.push(Self { groups: Some(GroupLimit { groups, limit, two_best }), ..rule });
                        }
                    }
                }
            }
            all.push(Self { renormalize, expert_scale: true, ..Self::SOFTMAX });
        }
        all.push(Self { weight: ExpertWeight::SparseMixer, ..Self::SOFTMAX });
        for renormalize in [false, true] {
            let rule = Self { renormalize, ..Self::SOFTMAX };
            all.push(Self { noise: true, ..rule });
            for later in [LaterRule::AtLeast, LaterRule::Sampled] {
                all.extend([false, true].map(|noise| Self { noise, later, ..rule }));
            }
        }
        for (groups, top_groups) in [(1, 1), (2, 1), (4, 2), (64, 3), (128, 128)] {
            let nested = Some(NestedGroups { groups, top_groups });
            if experts.is_multiple_of(groups) {
                all.push(Self { weight: ExpertWeight::Logit, nested, ..Self::SOFTMAX });
            }
        }
        all
    }

    /// Refuses rules whose parts do not go together.
    pub(crate) fn check(self, kernel: &'static str, experts: u32, choices: u32) -> Result<()> {
        let bytes = self.workgroup_bytes(experts);
        let fits = bytes <= MAX_WORKGROUP_BYTES;
        require(kernel, "groups", fits, "few enough for 16 KiB of workgroup memory", bytes)?;
        let as_logits = (self.weight == ExpertWeight::Logit) == self.nested.is_some();
        require(kernel, "weight", as_logits, "logits with nested groups, and only there", "another")?;
        if let Some(nested) = self.nested {
            let alone = Self { weight: ExpertWeight::Logit, nested: self.nested, ..Self::SOFTMAX };
            require(kernel, "nested", self == alone, "nothing beside nested groups", "more")?;
            return nested.check(kernel, experts, choices);
        }
        let unscaled = self.later == LaterRule::Always || !self.expert_scale;
        require(kernel, "expert_scale", unscaled, "none where later choices may go unused", "one")?;
        let mixes = self.weight == ExpertWeight::SparseMixer;
        let plain = !mixes || (self.selection == Selection::Logits && self.groups.is_none());
        require(kernel, "selection", plain, "logits of all experts", "a sparse mixer's own")?;
        let Some(GroupLimit { groups, limit, two_best }) = self.groups else { return Ok(()) };
        let divides = groups > 0 && experts.is_multiple_of(groups);
        require(kernel, "groups", divides, format_args!("a divisor of the {experts} experts"), groups)?;
        let size = experts / groups;
        let fits = limit <= groups && limit.saturating_mul(size) >= choices;
        let enough = format_args!("of {groups} groups of {size} enough for {choices} experts");
        require(kernel, "limit", fits, enough, limit)?;
        let sums_scores = !two_best || self.selection != Selection::Logits;
        require(kernel, "selection", sums_scores, "scores, where groups are worth sums", "logits")?;
        let least = if two_best { 2 } else { 1 };
        require(kernel, "groups", size >= least, format_args!("groups of at least {least}"), size)
    }

    /// Adds its fragments.
    pub(crate) fn add_to(self, source: Source) -> Source {
        let source = source
            .with(match self.weight {
                ExpertWeight::Softmax => fragment!("expert_weight/softmax.wgsl"),
                ExpertWeight::Sigmoid => fragment!("expert_weight/sigmoid.wgsl"),
                ExpertWeight::SparseMixer => fragment!("expert_weight/sparse_mixer.wgsl"),
                ExpertWeight::Logit => fragment!("expert_weight/logit.wgsl"),
            })
            .with(match self.selection {
                Selection::Logits => fragment!("selection/logits.wgsl"),
                Selection::Scores => fragment!("selection/scores.wgsl"),
                Selection::Biased => fragment!("selection/biased.wgsl"),
            })
            .with(match self.expert_scale {
                true => fragment!("expert_scale/stored.wgsl"),
                false => fragment!("expert_scale/none.wgsl"),
            })
            .with(match (self.nested, self.renormalize) {
                (Some(_), _) => fragment!("normalize/nested.wgsl"),
                (None, true) => fragment!("normalize/sum.wgsl"),
                (None, false) => fragment!("normalize/none.wgsl"),
            });
        let source = self.add_draws_to(match self.weight {
            ExpertWeight::Sigmoid => source.with(fragment!("common/sigmoid.wgsl")),
            ExpertWeight::Softmax | ExpertWeight::SparseMixer | ExpertWeight::Logit => source,
        });
        if let Some(NestedGroups { groups, top_groups }) = self.nested {
            return source
                .with(fragment!("expert_groups/nested.wgsl"))
                .constant("GROUPS", groups)
                .constant("TOP_GROUPS", top_groups);
        }
        let Some(GroupLimit { groups, limit, two_best }) = self.groups else {
            return source.with(fragment!("expert_groups/all.wgsl"));
        };
        source
            .with(fragment!("expert_groups/limited.wgsl"))
            .with(match two_best {
                true => fragment!("group_score/two_best.wgsl"),
                false => fragment!("group_score/best.wgsl"),
            })
            .constant("GROUPS", groups)
            .constant("GROUP_LIMIT", limit)
    }

    /// Adds what draws numbers, or does not.
    fn add_draws_to(self, source: Source) -> Source {
        let source = match self.noise {
            true => source
                .with(fragment!("router_noise/normal.wgsl"))
                .with(fragment!("common/normal.wgsl"))
                .with(fragment!("common/random.wgsl")),
            false => source.with(fragment!("router_noise/none.wgsl")),
        };
        match self.later {
            LaterRule::Always => source.with(fragment!("later/always.wgsl")),
            LaterRule::AtLeast => source.with(fragment!("later/at_least.wgsl")),
            LaterRule::Sampled => source
                .with(fragment!("later/sampled.wgsl"))
                .with(fragment!("common/random.wgsl"))
                .constant("FIRST_LATER_DRAW", FIRST_LATER_DRAW),
        }
    }

    /// Bytes of workgroup memory that choosing takes, the logits included: three numbers for each expert, what lanes compare
    /// and add, and those of groups. Computing logits takes 2 KiB more.
    pub(crate) fn workgroup_bytes(self, experts: u32) -> u64 {
        let groups = self.groups.map_or(0, |groups| 4 * u64::from(groups.groups));
        let nested = self.nested.map_or(0, |n| 4 * u64::from(n.groups) + 8 * u64::from(n.top_groups));
        12 * u64::from(experts) + 1536 + groups + nested
    }

    /// Numbers of a row behind the logits of its experts: spreads of noise, or logits of groups.
    pub(crate) fn second_count(self, experts: u32) -> u32 {
        match self.nested {
            Some(nested) => nested.groups,
            None if self.noise => experts,
            None => 0,
        }
    }

    /// Its bindings, all of `[E]`.
    pub(crate) fn bindings(self) -> impl Iterator<Item = Binding> {
        let biased = self.selection == Selection::Biased;
        let bias = biased.then_some(Binding::read(5, "selection_bias"));
        let scale = self.expert_scale.then_some(Binding::read(6, "expert_scale"));
        bias.into_iter().chain(scale)
    }
}
