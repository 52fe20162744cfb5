//! What each kind of sub-layer has in place of its weights.

use super::{ExpertStack, Matrix, SubLayerLayout, Vectors};
use crate::model::config::{Attention, Experts, FeedForward, LatentAttention, LayerInput};

/// What a sub-layer computes, and with what.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one per sub-layer")]
pub enum OpLayout {
    /// Attention.
    Attention(AttentionLayout),
    /// Attention over latents.
    LatentAttention(LatentAttentionLayout),
    /// Dense feed-forward.
    FeedForward(FeedForwardLayout),
    /// Sparse feed-forward.
    Experts(ExpertsLayout),
    /// Attention to what an encoder gives.
    CrossAttention(CrossAttentionLayout),
    /// A gate on the layer's own embedding.
    LayerInput(LayerInputLayout),
    /// Branches side by side.
    Parallel(Vec<SubLayerLayout>),
}

/// Attention.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionLayout {
    /// Its numbers.
    pub config: Attention,
    /// Q, K and V in one, `[(H + 2G) h, d]`; without V where it is K, and Q alone where both are another's.
    pub qkv: Matrix,
    /// The norm of Q's and K's heads, or of Q's alone.
    pub head_norm: Option<Vectors>,
    /// The logits of the sinks, `[H]`.
    pub sinks: Option<Vectors>,
    /// `[d, H h]`.
    pub out: Matrix,
}

/// Attention over latents.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentAttentionLayout {
    /// Its numbers.
    pub config: LatentAttention,
    /// The projection to the latent of queries, `[q, d]`, and the latent's norm.
    pub q_latent: Option<(Matrix, Vectors)>,
    /// Queries, `[H (n + r), q]`, or of the input where they have no latent.
    pub q: Matrix,
    /// The latent of keys and values and the key that is rotated, `[c + r, d]`.
    pub kv_latent: Matrix,
    /// The norm of that latent.
    pub kv_norm: Vectors,
    /// Keys of latents, `[H n, c]`, in one shard. Queries are multiplied with it the other way round.
    pub k: Matrix,
    /// Values of latents, `[H v, c]`, in one shard.
    pub v: Matrix,
    /// `[d, H v]`.
    pub out: Matrix,
}

/// Attention to what an encoder gives.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossAttentionLayout {
    /// Its numbers.
    pub config: Attention,
    /// `[H h, d]`.
    pub q: Matrix,
    /// K and V in one, `[2 G h, d]`, which read the encoder; without V where it is K.
    pub kv: Matrix,
    /// The logits of the sinks, `[H]`.
    pub sinks: Option<Vectors>,
    /// `[d, H h]`.
    pub out: Matrix,
}

/// Dense feed-forward.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedForwardLayout {
    /// Its numbers.
    pub config: FeedForward,
    /// Gate and up in turn, `[2 f, d]`, or up alone, `[f, d]`.
    pub into: Matrix,
    /// `[d, f]`.
    pub down: Matrix,
}

/// A gate on the layer's own embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerInputLayout {
    /// Its numbers.
    pub config: LayerInput,
    /// Which of the embeddings it is, of the layers that read one.
    pub index: u32,
    /// `[p, d]`.
    pub gate: Matrix,
    /// `[d, p]`.
    pub projection: Matrix,
}

/// Sparse feed-forward.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertsLayout {
    /// Its numbers.
    pub config: Experts,
    /// The norm of what the router reads, in place of the sub-layer's.
    pub router_norm: Option<Vectors>,
    /// `[E, d]`, always f32, with what else reads its input ([`router_parts`](crate::model::slot::router_parts)): the gate of the
    /// shared expert, spreads of noise, logits of groups. Absent where there is nothing of it.
    pub router: Option<Matrix>,
    /// The experts of each token id or of each task, `[any, k]`.
    pub table: Option<Vectors>,
    /// What is added to scores for the choice, `[E]`.
    pub selection_bias: Option<Vectors>,
    /// What weights are multiplied by, `[E]`.
    pub expert_scale: Option<Vectors>,
    /// The expert that every token uses.
    pub shared: Option<FeedForwardLayout>,
    /// Gate and up in turn, `[E, 2 f, d]`, or up alone, `[E, f, d]`.
    pub into: ExpertStack,
    /// `[E, d, f]`.
    pub down: ExpertStack,
}

impl LatentAttentionLayout {
    /// Its matrices, in the order of the pass.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let q_latent = self.q_latent.iter().map(|(matrix, _)| matrix);
        q_latent.chain([&self.q, &self.kv_latent, &self.k, &self.v, &self.out])
    }
}

impl ExpertsLayout {
    /// The router's matrix, that of the shared expert and those of the experts.
    pub(super) fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let shared = self.shared.iter().flat_map(|shared| [&shared.into, &shared.down]);
        self.router.iter().chain(shared).chain(&self.into.matrices).chain(&self.down.matrices)
    }

    pub(super) fn vectors(&self) -> impl Iterator<Item = &Vectors> {
        [&self.router_norm, &self.table, &self.selection_bias, &self.expert_scale].into_iter().flatten()
    }

    /// Bytes that a token reads of router and experts; of experts of different widths, those of the widest.
    pub(super) fn bytes_read(&self) -> u64 {
        let of_expert = |expert| self.into.bytes_read(expert) + self.down.bytes_read(expert);
        let mut of_each: Vec<u64> = (0..self.into.formats.len()).map(of_expert).collect();
        of_each.sort_unstable_by(|a, b| b.cmp(a));
        let shared = self.shared.iter().map(|shared| shared.into.bytes_read() + shared.down.bytes_read());
        let of_chosen = of_each.iter().take(self.config.choices_of_one() as usize).sum::<u64>();
        self.router.as_ref().map_or(0, Matrix::bytes_read) + shared.sum::<u64>() + of_chosen
    }
}
