//! What routers compute in a pass, and which sub-layers have one.

use super::{Cache, unfit};
use crate::Result;
use crate::model::config::{Experts, ModelConfig, Op};
use crate::model::slot::{Place, Stack};
use crate::reference::expert_plan::NONE;
use crate::reference::moe::{Chosen, NextGroup};

/// What a router computed.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTrace {
    /// `[T, E]`, before the softmax.
    pub logits: Vec<f32>,
    /// What experts are chosen by, `[T, E]`: [`Router::keys`](crate::reference::moe::Router::keys).
    pub keys: Vec<f32>,
    /// Where groups of experts are chosen from, `[T]`: [`Router::next_groups`](crate::reference::moe::Router::next_groups).
    pub next_groups: Vec<NextGroup>,
    /// Of a sparse mixer, `[T, k, E]`: [`Router::margins`](crate::reference::moe::Router::margins).
    pub margins: Vec<f64>,
    /// `[T, k]`, best first.
    pub experts: Vec<u32>,
    /// `[T, k]`.
    pub weights: Vec<f32>,
    /// `k`.
    pub top_k: usize,
}

/// Refuses experts that are not those of a stack's routed layers, or of other tokens.
pub(super) fn check_chosen(
    config: &ModelConfig,
    stack: Stack,
    cache: &Cache,
    ids: &[u32],
    experts: &[Chosen<'_>],
) -> Result<()> {
    let as_trained = cache.conditions.training.is_some();
    let layers: Vec<&Experts> =
        routed_layers_of(config, stack, as_trained).map(|(_, experts)| experts).collect();
    let fits = |(layer, chosen): (&&Experts, &Chosen<'_>)| {
        let (slots, margins) = (ids.len() * layer.top_k as usize, chosen.margins.len());
        chosen.experts.len() == slots
            && [0, slots * layer.count as usize].contains(&margins)
            && chosen.experts.iter().all(|&e| e < layer.count || (e == NONE && layer.may_leave_out()))
    };
    if layers.len() != experts.len() || !layers.iter().zip(experts).all(fits) {
        return Err(unfit("a choice of experts"));
    }
    Ok(())
}

/// The sub-layers of a stack with experts, in order.
pub(super) fn expert_layers(config: &ModelConfig, stack: Stack) -> impl Iterator<Item = (Place, &Experts)> {
    config.ops_of(stack).filter_map(|(place, op)| match op {
        Op::Experts(experts) => Some((place, experts)),
        Op::Attention(_) | Op::LatentAttention(_) | Op::CrossAttention(_) | Op::FeedForward(_) => None,
        Op::LayerInput(_) | Op::Parallel(_) => None,
    })
}

/// The sub-layers with experts where each token chooses for itself, those of an encoder first.
pub(crate) fn routed_layers(
    config: &ModelConfig,
    as_trained: bool,
) -> impl Iterator<Item = (Place, &Experts)> {
    [Stack::Encoder, Stack::Decoder]
        .into_iter()
        .flat_map(move |stack| routed_layers_of(config, stack, as_trained))
}

/// The same of one stack.
pub(crate) fn routed_layers_of(
    config: &ModelConfig,
    stack: Stack,
    as_trained: bool,
) -> impl Iterator<Item = (Place, &Experts)> {
    expert_layers(config, stack).filter(move |(_, experts)| experts.chooses_by_token(as_trained))
}
