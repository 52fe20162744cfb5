//! The passes of a session, bound to its tensors and to a model's weights.

use std::collections::HashMap;
use std::sync::Arc;

use super::{SessionOptions, SessionPlan};
use crate::Result;
use crate::model::forward::{LogitRows, expert_places};
use crate::model::loaded::Model;
use crate::schedule::Schedule;
use crate::schedule::execute::Prepared;
use crate::schedule::memory::MemoryPlan;
use crate::tensor::Tensor;

/// What a session runs while it serves a model.
pub(super) struct Passes {
    pub(super) model: Model,
    /// Chunk of a prompt that is not its end.
    pub(super) part: Prepared,
    /// Chunk that ends a prompt.
    pub(super) prefill: Prepared,
    /// One decode step.
    pub(super) decode: Prepared,
    /// One of a sequence that is alone in it, where that is another.
    pub(super) alone: Option<Prepared>,
    /// The input of an encoder.
    pub(super) encoder: Option<Prepared>,
}

impl Passes {
    /// What runs.
    pub(super) fn schedules(&self) -> impl Iterator<Item = &Arc<Schedule>> {
        let others = self.alone.iter().chain(&self.encoder);
        [&self.part, &self.prefill, &self.decode].into_iter().chain(others).map(Prepared::schedule)
    }

    /// A decode step of so many sequences.
    pub(super) fn of_step(&self, sequences: usize) -> &Prepared {
        self.alone.as_ref().filter(|_| sequences == 1).unwrap_or(&self.decode)
    }

    /// The pass over a chunk of a prompt, which may be its last.
    pub(super) fn of_prompt(&self, options: &SessionOptions, last: bool) -> &Prepared {
        if last || options.logits == LogitRows::All { &self.prefill } else { &self.part }
    }

    /// Binds a plan's passes, and builds the pipelines that there are not yet.
    pub(super) async fn prepare(
        model: &Model,
        plan: &SessionPlan,
        named: &HashMap<String, Tensor>,
        pool: &[Tensor],
    ) -> Result<Self> {
        let mut places = HashMap::new();
        for (name, table) in expert_places(model.layout()) {
            let tensor = Tensor::upload(model.gpu(), &name, &table).await?;
            places.insert(name, tensor);
        }
        let prepare = async |(schedule, memory): &(Schedule, MemoryPlan)| {
            let find = |name: &str| {
                named.get(name).or_else(|| places.get(name)).or_else(|| model.tensor(name)).cloned()
            };
            Prepared::new(model.gpu(), schedule.clone(), memory, pool, &named["span"], find).await
        };
        let encoder = match &plan.encoder {
            Some(pass) => Some(prepare(pass).await?),
            None => None,
        };
        Ok(Self {
            encoder,
            model: model.clone(),
            part: prepare(&plan.part).await?,
            prefill: prepare(&plan.prefill).await?,
            decode: prepare(&plan.decode).await?,
            alone: match &plan.alone {
                Some(alone) => Some(prepare(alone).await?),
                None => None,
            },
        })
    }
}
