//! The kernels: one module each, by the name of its shader. Beside them `linear`, `tile_rows` and
//! `expert_plan`: what several kernels agree on.

pub mod altup;
pub mod attention;
pub mod attention_coop;
pub mod attention_merge;
pub mod embed;
pub mod expert_plan;
pub mod kv_write;
pub mod latent_heads;
pub mod linear;
pub mod matmul;
pub mod matmul_coop;
pub mod matvec;
pub mod moe_auction;
pub mod moe_combine;
pub mod moe_count;
pub mod moe_expert_choice;
pub mod moe_list;
pub mod moe_lookup;
pub mod moe_place;
pub mod moe_priority;
pub mod moe_route;
pub mod moe_scan;
pub mod moe_scores;
pub mod moe_sinkhorn;
pub mod norm;
pub mod quantize;
pub mod rope;
pub mod sample_best;
pub mod sample_pick;
pub mod slice;
pub mod sparse_glu;
pub mod stream_add;
pub mod stream_match;
pub mod stream_take;
pub mod tile_rows;
mod turns;

use std::sync::Arc;

use crate::kernel::{AnyLaunch, Kernel, Launch};

/// Every variant of every kernel: what tests link, validate and build. Their numbers are zero, which most kernels'
/// checks refuse: they are no launches to record or to count.
pub fn all_variants() -> Vec<Arc<dyn AnyLaunch>> {
    let mut all = Vec::new();
    add::<altup::Altup>(&mut all);
    add::<attention::Attention>(&mut all);
    add::<attention_coop::AttentionCoop>(&mut all);
    add::<attention_merge::AttentionMerge>(&mut all);
    add::<embed::Embed>(&mut all);
    add::<kv_write::KvWrite>(&mut all);
    add::<latent_heads::LatentHeads>(&mut all);
    add::<matmul::Matmul>(&mut all);
    add::<matmul_coop::MatmulCoop>(&mut all);
    add::<matvec::Matvec>(&mut all);
    add::<moe_auction::MoeAuction>(&mut all);
    add::<moe_combine::MoeCombine>(&mut all);
    add::<moe_count::MoeCount>(&mut all);
    add::<moe_expert_choice::MoeExpertChoice>(&mut all);
    add::<moe_list::MoeList>(&mut all);
    add::<moe_lookup::MoeLookup>(&mut all);
    add::<moe_place::MoePlace>(&mut all);
    add::<moe_priority::MoePriority>(&mut all);
    add::<moe_route::MoeRoute>(&mut all);
    add::<moe_scan::MoeScan>(&mut all);
    add::<moe_scores::MoeScores>(&mut all);
    add::<moe_sinkhorn::MoeSinkhorn>(&mut all);
    add::<norm::Norm>(&mut all);
    add::<quantize::Quantize>(&mut all);
    add::<rope::Rope>(&mut all);
    add::<sample_best::SampleBest>(&mut all);
    add::<sample_pick::SamplePick>(&mut all);
    add::<slice::Slice>(&mut all);
    add::<sparse_glu::SparseGlu>(&mut all);
    add::<stream_add::StreamAdd>(&mut all);
    add::<stream_match::StreamMatch>(&mut all);
    add::<stream_take::StreamTake>(&mut all);
    all
}

fn add<K: Kernel>(all: &mut Vec<Arc<dyn AnyLaunch>>) {
    for variant in K::variants() {
        all.push(Launch { variant, params: bytemuck::Zeroable::zeroed() }.shared());
    }
}
