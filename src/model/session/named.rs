//! The tensors of a session that passes find by name.

use std::collections::HashMap;

use super::SessionPlan;
use crate::Result;
use crate::gpu::Gpu;
use crate::model::config::Rope;
use crate::model::forward::rope_tables;
use crate::model::loaded::Model;
use crate::reference::rope;
use crate::schedule::{Home, Schedule};
use crate::tensor::Tensor;

/// Tensors that are bound by name.
pub(super) fn named_tensors(schedule: &Schedule) -> impl Iterator<Item = (&str, u64)> {
    schedule
        .tensors
        .iter()
        .filter(|info| info.home == Home::Named)
        .map(|info| (info.name.as_str(), info.bytes))
}

/// Allocates what the schedules name and neither the model nor the host holds: caches, tables, inputs, results.
pub(super) async fn allocate_named(
    model: &Model,
    plan: &SessionPlan,
    mut host: impl FnMut(&str, u64) -> Option<Tensor>,
) -> Result<HashMap<String, Tensor>> {
    let gpu = model.gpu();
    let tables = rope_tables(model.config());
    let mut named = HashMap::new();
    for (name, bytes) in plan.named_bytes() {
        let tensor = match tables.iter().find(|(table, _)| *table == name) {
            Some((_, rope)) => {
                let positions = bytes / (u64::from(rope.rotary_dim / 2) * 8);
                rope_table(gpu, &name, rope, positions as u32).await?
            }
            None if name == "span" => Tensor::span(gpu, &[]).await?,
            None if ["token_ids", "next_ids", "page_table", "encoder_length"].contains(&&*name) => {
                Tensor::zeroed(gpu, &name, bytes).await?
            }
            None => match host(&name, bytes) {
                Some(tensor) => tensor,
                None => Tensor::zeroed(gpu, &name, bytes).await?,
            },
        };
        named.insert(name, tensor);
    }
    Ok(named)
}

/// Cosine and sine of every position, `[positions, rotary_dim / 2]` pairs.
async fn rope_table(gpu: &Gpu, name: &str, rope: &Rope, positions: u32) -> Result<Tensor> {
    let positions: Vec<u32> = (0..positions).collect();
    let (cos, sin) = rope::tables(rope, &positions);
    let pairs: Vec<[f32; 2]> = cos.into_iter().zip(sin).map(|(cos, sin)| [cos, sin]).collect();
    Tensor::upload(gpu, name, &pairs).await
}
