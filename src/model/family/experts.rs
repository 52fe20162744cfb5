//! What families with experts have in common.

use super::decoder::Decoder;
use super::keys::{Keys, Whole};
use crate::Result;
use crate::model::config::{
    ExpertGroups, Experts, FeedForward, GroupScore, Routing, Score, SharedExpert, Topk,
};

/// How many experts there are, and how many a token uses.
pub(super) fn counts(keys: &Keys<'_>, names: [&str; 2], defaults: [u32; 2]) -> Result<[u32; 2]> {
    let count = keys.or(names[0], keys.or(names[1], defaults[0])?)?;
    let top_k = keys.or("num_experts_per_tok", defaults[1])?;
    if top_k > count {
        return Err(keys.error("num_experts_per_tok", format!("at most the {count} experts"), top_k));
    }
    Ok([count, top_k])
}

/// Experts and nothing beside them, as wide as `expert_size` says.
pub(super) fn experts(
    decoder: &Decoder,
    [count, top_k]: [u32; 2],
    expert_size: u32,
    routing: Routing,
) -> Experts {
    Experts::new(count, top_k, routing, FeedForward { hidden: expert_size, ..decoder.feed_forward })
}

/// Which layers have experts: every so many, but those that are listed (Qwen).
pub(super) fn sparse_layers(keys: &Keys<'_>, layers: usize) -> Result<Vec<bool>> {
    let dense = keys.nullable::<Vec<Whole>>("mlp_only_layers", None)?.unwrap_or_default();
    let step = keys.or("decoder_sparse_step", 1)? as usize;
    let is_dense = |layer: usize| dense.iter().any(|Whole(dense)| *dense as usize == layer);
    Ok((0..layers).map(|layer| !is_dense(layer) && (layer + 1).is_multiple_of(step)).collect())
}

/// DeepSeek-V3's router (arXiv 2412.19437, section 2.1.2) and an expert that every token uses, after a few dense layers, the
/// first of which are counted.
pub(super) fn deepseek(keys: &Keys<'_>, decoder: &Decoder, defaults: &DeepSeek) -> Result<(usize, Experts)> {
    let counts = deepseek_counts(keys, defaults)?;
    let topk = Topk {
        renormalize: keys.nullable("norm_topk_prob", Some(defaults.renormalize))?.unwrap_or(false),
        scale: keys.or("routed_scaling_factor", defaults.scale)?,
        selection_bias: true,
        groups: expert_groups(keys, counts, defaults.groups, GroupScore::TwoBest)?,
        ..Topk::of(Score::Sigmoid)
    };
    deepseek_experts(keys, decoder, defaults, (counts, topk))
}

/// How many experts there are, and how many a token uses.
pub(super) fn deepseek_counts(keys: &Keys<'_>, defaults: &DeepSeek) -> Result<[u32; 2]> {
    counts(keys, ["n_routed_experts", "num_local_experts"], defaults.counts)
}

/// The groups of experts that a token chooses from, where it does not choose from all.
pub(super) fn expert_groups(
    keys: &Keys<'_>,
    [count, top_k]: [u32; 2],
    defaults: [u32; 2],
    score: GroupScore,
) -> Result<Option<ExpertGroups>> {
    let groups =
        [keys.nullable("n_group", Some(defaults[0]))?, keys.nullable("topk_group", Some(defaults[1]))?];
    let [groups, limit] = groups.map(|groups| groups.unwrap_or(1));
    if !count.is_multiple_of(groups) {
        return Err(keys.error("n_group", format!("a divisor of the {count} experts"), groups));
    }
    if limit > groups || u64::from(limit) * u64::from(count / groups) < u64::from(top_k) {
        let expected = format!("of {groups} groups enough for {top_k} experts");
        return Err(keys.error("topk_group", expected, limit));
    }
    Ok((limit < groups).then_some(ExpertGroups { count: groups, limit, score }))
}

/// Experts with such a router, an expert that every token uses, and how many dense layers come first.
pub(super) fn deepseek_experts(
    keys: &Keys<'_>,
    decoder: &Decoder,
    defaults: &DeepSeek,
    (counts, topk): ([u32; 2], Topk),
) -> Result<(usize, Experts)> {
    let expert_size = keys.or("moe_intermediate_size", defaults.expert_size)?;
    let shared = match keys.nullable("n_shared_experts", defaults.shared.map(Whole))? {
        None | Some(Whole(0)) => None,
        Some(Whole(shared)) => {
            let Some(hidden) = expert_size.checked_mul(shared) else {
                return Err(keys.error("n_shared_experts", "fewer than 2^32 hidden units", shared));
            };
            Some(SharedExpert { expert: FeedForward { hidden, ..decoder.feed_forward }, gated: false })
        }
    };
    let Whole(dense) =
        keys.nullable("first_k_dense_replace", Some(Whole(defaults.dense)))?.unwrap_or(Whole(0));
    let experts = experts(decoder, counts, expert_size, Routing::Topk(topk));
    Ok((dense as usize, Experts { shared, ..experts }))
}

/// What a family with that router assumes.
pub(super) struct DeepSeek {
    /// Experts, and how many a token uses.
    pub counts: [u32; 2],
    pub expert_size: u32,
    /// Groups of experts, and how many of them a token chooses from.
    pub groups: [u32; 2],
    /// Multiplies weights.
    pub scale: f32,
    pub shared: Option<u32>,
    pub dense: u32,
    pub renormalize: bool,
}

impl DeepSeek {
    /// What most assume.
    pub const COMMON: Self = Self {
        counts: [128, 8],
        expert_size: 1408,
        groups: [1, 1],
        scale: 1.0,
        shared: Some(1),
        dense: 1,
        renormalize: true,
    };
}
