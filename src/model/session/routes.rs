//! What the routers of a session did: in the last pass of one with a trace, or in any pass on record.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Session;
use super::passes::Passes;
use crate::energy::PassRecord;
use crate::kernel::Span;
use crate::model::config::{Experts, Op};
use crate::model::router_metrics::{Noise, RouterMetrics, Routes};
use crate::model::slot::{Place, Role, Stack, router_offset, router_parts};
use crate::reference::moe::{Training, softplus, with_noise};
use crate::{Error, Result};

const NONE: u32 = u32::MAX;

/// What a router leaves.
const PARTS: [&str; 6] =
    ["router_logits", "expert_of_slot", "weight_of_slot", "place_of_slot", "scores", "slot_of_choice"];

/// What the router of a layer left of a pass, by part, in words.
type Left<'a> = HashMap<&'static str, &'a [u32]>;

impl Session {
    /// How the experts of each layer, but an encoder's, were used in the last pass, one over a prompt's chunk, in the order of
    /// the layers. The
    /// session is one with a trace, and the pass has run.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] without a trace; [`Error::Request`] where there was no pass, or the last one was a step of
    /// decoding; those of reading.
    pub async fn router_metrics(&self) -> Result<Vec<(Place, RouterMetrics)>> {
        let none = || Error::Request("the last pass was none of a prompt".into());
        let spans = self.traced.as_ref().ok_or_else(none)?;
        let rows = Span::total_rows(spans);
        let schedule = self.passes.prefill.schedule();
        let mut all = Vec::new();
        for (place, experts) in self.routers().filter(|(place, _)| place.stack() == Stack::Decoder) {
            let mut words = Vec::new();
            for part in PARTS {
                let name = place.name(part);
                let Some(tensor) = self.tensor(&name) else { continue };
                let info = schedule.tensors.iter().find(|info| info.name == name);
                let row_words = info.map_or(0, |info| info.bytes / 4 / u64::from(schedule.max_rows));
                let count = row_words as usize * rows as usize;
                words.push((part, tensor.read::<u32>(self.gpu(), 0, count).await?));
            }
            let left: Left<'_> = words.iter().map(|(part, words)| (*part, &words[..])).collect();
            let metrics = self.metrics_of(place, experts, spans, &left);
            all.push((place, metrics.ok_or_else(|| Error::MissingTensor { name: place.name(PARTS[1]) })?));
        }
        Ok(all)
    }

    /// How the experts of each layer were used in a pass on record of a session with `router_telemetry`, in the order of the
    /// layers; nothing where [`Ledger::collect`](crate::energy::Ledger::collect) has not brought the pass's notes, and for a pass
    /// of another session.
    pub fn router_metrics_of(&self, pass: &PassRecord) -> Vec<(Place, RouterMetrics)> {
        let mut own = self.other_passes.iter().chain([&self.passes]).flat_map(Passes::schedules);
        if !own.any(|schedule| Arc::ptr_eq(schedule, &pass.schedule)) {
            return Vec::new();
        }
        let notes: HashMap<&str, &[u32]> =
            pass.notes.iter().map(|note| (&*note.tensor, &note.words[..])).collect();
        let of_layer = |(place, experts): (Place, &Experts)| {
            let part = |part| Some((part, *notes.get(place.name(part).as_str())?));
            let left: Left<'_> = PARTS.into_iter().filter_map(part).collect();
            Some((place, self.metrics_of(place, experts, &pass.spans, &left)?))
        };
        self.routers().filter_map(of_layer).collect()
    }

    /// Writes everything on record as JSON Lines, as [`Ledger::write_jsonl`](crate::energy::Ledger::write_jsonl) does, with a
    /// line for each layer of experts of each pass that has notes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_ledger(&self, out: &mut impl io::Write) -> io::Result<()> {
        self.ledger.write_jsonl_with(self.gpu(), out, |step, pass| {
            let lines = self.router_metrics_of(pass).into_iter();
            lines.map(|(place, metrics)| router_line(step, place, &metrics)).collect()
        })
    }

    /// The layers of experts.
    fn routers(&self) -> impl Iterator<Item = (Place, &Experts)> {
        self.model().config().ops().filter_map(|(place, op)| match op {
            Op::Experts(experts) => Some((place, experts)),
            _ => None,
        })
    }

    /// The figures of a layer; none where its router left nothing.
    fn metrics_of(
        &self,
        place: Place,
        experts: &Experts,
        spans: &[Span],
        left: &Left<'_>,
    ) -> Option<RouterMetrics> {
        let (rows, count) = (Span::total_rows(spans) as usize, experts.count as usize);
        let columns: usize = router_parts(experts).iter().map(|(_, rows)| *rows as usize).sum();
        let floats = |part| -> Option<Vec<f32>> {
            Some(left.get(part)?.iter().map(|word| f32::from_bits(*word)).collect())
        };
        let all = floats("router_logits").filter(|_| experts.routing.has_router()).unwrap_or_default();
        let logits: Vec<f32> =
            all.chunks_exact(columns.max(1)).flat_map(|row| &row[..count]).copied().collect();
        let logits = &logits[..];
        let routes = Routes { logits, count, ..Routes::NONE };
        // Where experts chose, a token may have any number of them.
        if let Some(slots) = left.get("slot_of_choice") {
            let scores = floats("scores")?;
            let by_token = || (0..rows).flat_map(|row| (0..count).map(move |expert| (row, expert)));
            let expert = |(row, e)| if slots[e * rows + row] == NONE { NONE } else { e as u32 };
            let chosen: Vec<u32> = by_token().map(expert).collect();
            let scores: Vec<f32> = by_token().map(|(row, e)| scores[e * rows + row]).collect();
            let (experts, weights) = (&chosen[..], &scores[..]);
            let routes = Routes { experts, weights, choices: count, by_experts: true, ..routes };
            return RouterMetrics::of(routes).ok();
        }
        let chosen = *left.get("expert_of_slot")?;
        let kept: Vec<bool> = left
            .get("place_of_slot")
            .into_iter()
            .flat_map(|places| places.iter())
            .map(|p| *p != NONE)
            .collect();
        let noise = self.noise(place, experts, spans, [logits, &all]);
        let noise = noise.as_ref().map(|[logits, deviations]| Noise { logits, deviations });
        let (weights, choices) = (&floats("weight_of_slot")?[..], chosen.len() / rows.max(1));
        RouterMetrics::of(Routes { experts: chosen, weights, kept: &kept, choices, noise, ..routes }).ok()
    }

    /// A pass's logits with noise and the deviations of that, `[rows, E]`, from logits and all outputs of the router; none where
    /// no noise was drawn.
    fn noise(
        &self,
        place: Place,
        experts: &Experts,
        spans: &[Span],
        [logits, all]: [&[f32]; 2],
    ) -> Option<[Vec<f32>; 2]> {
        let is_noisy = experts.routing.topk().is_some_and(|topk| topk.noise);
        let seed = self.options.training.filter(|_| is_noisy)?;
        let count = experts.count as usize;
        let (rows, first) =
            (Span::total_rows(spans) as usize, router_offset(experts, Role::NoiseRouter) as usize);
        let spreads = all.chunks_exact(all.len() / rows).flat_map(|row| &row[first..first + count]);
        let spreads: Vec<f32> = spreads.copied().collect();
        let positions = |span: &Span| span.position..span.position + span.rows;
        let positions: Vec<u32> = spans.iter().flat_map(positions).collect();
        let training = Training { seed: place.seed(seed), positions: &positions };
        let noisy = with_noise(logits, &spreads, count, training);
        Some([noisy, spreads.into_iter().map(|spread| softplus(spread) as f32).collect()])
    }
}

fn router_line(step: usize, place: Place, metrics: &RouterMetrics) -> Value {
    let at = place.at();
    json!({
        "t": "router", "step": step, "block": at.map(|at| at.block), "sublayer": at.map(|at| at.sublayer),
        "name": place.name("router"),
        "tokens_per_expert": metrics.tokens_per_expert, "dropped": metrics.dropped,
        "experts_per_token": metrics.experts_per_token, "max_over_mean": metrics.max_over_mean,
        "load_cv2": metrics.load_cv2, "importance_cv2": metrics.importance_cv2,
        "nan_logits": metrics.nan_logits, "load_balance": metrics.logits.map(|logits| logits.load_balance),
        "z": metrics.logits.map(|logits| logits.z), "entropy": metrics.logits.map(|logits| logits.entropy),
        "smooth_load": metrics.smooth_load.as_ref().map(|load| &load.tokens_per_expert),
        "smooth_load_cv2": metrics.smooth_load.as_ref().map(|load| load.cv2),
    })
}
