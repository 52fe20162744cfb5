//! What the routers of a traced session did in its last pass.

use super::Session;
use crate::model::config::{Experts, Op, Routing};
use crate::model::router_metrics::{Noise, RouterMetrics, Routes};
use crate::model::slot::{Place, Role, router_offset, router_parts};
use crate::reference::moe::{Training, softplus, with_noise};
use crate::{Error, Result};

const NONE: u32 = u32::MAX;

impl Session {
    /// How the experts of each layer were used in the last pass, one over a prompt's chunk, in the order of the layers. The
    /// session is one with a trace, and the pass has run.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] without a trace; [`Error::Request`] where there was no pass, or the last one was a step of
    /// decoding; those of reading.
    pub async fn router_metrics(&self) -> Result<Vec<(Place, RouterMetrics)>> {
        let rows =
            self.traced_rows.ok_or_else(|| Error::Request("the last pass was none of a prompt".into()))?;
        let config = self.model().config().clone();
        let mut all = Vec::new();
        for (place, op) in config.ops() {
            if let Op::Experts(experts) = op {
                all.push((place, self.metrics_of(place, experts, rows as usize).await?));
            }
        }
        Ok(all)
    }

    async fn metrics_of(&self, place: Place, experts: &Experts, rows: usize) -> Result<RouterMetrics> {
        let count = experts.count as usize;
        let columns: usize = router_parts(experts).iter().map(|(_, rows)| *rows as usize).sum();
        let all = match experts.routing.has_router() {
            true => self.traced::<f32>(place, "router_logits", rows * columns).await?,
            false => Vec::new(),
        };
        let logits: Vec<f32> =
            all.chunks_exact(columns.max(1)).flat_map(|row| &row[..count]).copied().collect();
        if matches!(experts.routing, Routing::ExpertChoice { .. }) {
            return self.metrics_of_choice(place, &logits, [rows, count]).await;
        }
        let choices = experts.top_k as usize;
        let chosen: Vec<u32> = self.traced(place, "expert_of_slot", rows * choices).await?;
        let weights: Vec<f32> = self.traced(place, "weight_of_slot", rows * choices).await?;
        let places: Vec<u32> = match self.tensor(&place.name("place_of_slot")) {
            Some(_) => self.traced(place, "place_of_slot", rows * choices).await?,
            None => Vec::new(),
        };
        let kept: Vec<bool> = places.iter().map(|place| *place != NONE).collect();
        let noise = self.noise(place, experts, &logits, &all);
        let noise = noise.as_ref().map(|[logits, deviations]| Noise { logits, deviations });
        let (logits, experts, weights, kept) = (&logits[..], &chosen[..], &weights[..], &kept[..]);
        let by_experts = false;
        Ok(RouterMetrics::of(Routes { logits, experts, weights, kept, count, choices, by_experts, noise }))
    }

    /// The last pass's logits with noise and the deviations of that, `[rows, E]`, from all outputs of the router; none where
    /// no noise was drawn.
    fn noise(&self, place: Place, experts: &Experts, logits: &[f32], all: &[f32]) -> Option<[Vec<f32>; 2]> {
        let is_noisy = experts.routing.topk().is_some_and(|topk| topk.noise);
        let seed = self.options.training.filter(|_| is_noisy)?;
        let count = experts.count as usize;
        let (rows, first) = (logits.len() / count, router_offset(experts, Role::NoiseRouter) as usize);
        let spreads = all.chunks_exact(all.len() / rows).flat_map(|row| &row[first..first + count]);
        let spreads: Vec<f32> = spreads.copied().collect();
        let positions: Vec<u32> = (self.position - rows as u32..self.position).collect();
        let training = Training { seed: place.seed(seed), positions: &positions };
        let noisy = with_noise(logits, &spreads, count, training);
        Some([noisy, spreads.into_iter().map(|spread| softplus(spread) as f32).collect()])
    }

    /// Where experts choose, a token may have any number of them.
    async fn metrics_of_choice(
        &self,
        place: Place,
        logits: &[f32],
        [rows, count]: [usize; 2],
    ) -> Result<RouterMetrics> {
        let slots: Vec<u32> = self.traced(place, "slot_of_choice", rows * count).await?;
        let scores: Vec<f32> = self.traced(place, "scores", rows * count).await?;
        let expert = |(n, slot): (usize, &u32)| if *slot == NONE { NONE } else { (n % count) as u32 };
        let experts: Vec<u32> = slots.iter().enumerate().map(expert).collect();
        let (experts, weights) = (&experts[..], &scores[..]);
        let (kept, choices, by_experts, noise) = (&[][..], count, true, None);
        Ok(RouterMetrics::of(Routes { logits, experts, weights, kept, count, choices, by_experts, noise }))
    }

    async fn traced<T: bytemuck::Pod>(&self, place: Place, part: &str, count: usize) -> Result<Vec<T>> {
        let name = place.name(part);
        let tensor = self.tensor(&name).ok_or_else(|| Error::MissingTensor { name: name.clone() })?;
        tensor.read(self.gpu(), 0, count).await
    }
}
