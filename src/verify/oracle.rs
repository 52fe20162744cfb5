//! What runs are held against: golden outputs, or the CPU reference where weights are not as in the file.

use super::compare::{agree, first_miss, parting};
use super::runner::{CpuInput, OnCpu, Run};
use super::{Arithmetic, Case, Input, Prompt};
use crate::Result;
use crate::fragments::CacheFormat;
use crate::model::plan::WeightPlan;
use crate::reference::forward::{RouteTrace, Trace};
use crate::reference::sample::argmax;
use crate::tuning::ProductPath;

/// Draws: one may happen to leave alone what another moves.
const DRAWS: u32 = 3;

pub(super) struct Oracle<'a> {
    case: &'a Case,
    plan: &'a WeightPlan,
    arithmetic: Arithmetic,
    /// Loaded when first needed, which with golden weights is hardly ever.
    reference: Option<OnCpu<'a>>,
    /// What the encoder has read.
    input: CpuInput,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(case: &'a Case, plan: &'a WeightPlan, arithmetic: Arithmetic) -> Self {
        Self { case, plan, arithmetic, reference: None, input: CpuInput::default() }
    }

    /// What the encoder should give. Where it chose other experts by a near tie, all tokens hang on that, and all that follows:
    /// then the reference goes on with its experts.
    pub(super) fn input(&mut self, input: &Input, found: &Run, rounding: f64) -> Result<Run> {
        self.input = CpuInput { ids: input.ids.clone(), routes: None };
        let mut expected = match self.is_as_in_file() {
            true => Run { trace: input.trace.clone(), ..Run::default() },
            false => Run { trace: self.reference()?.begin()?, ..Run::default() },
        };
        let known = &expected.trace.routes;
        if agree(&expected, found, rounding) || parting(known, &found.trace.routes).is_none() {
            return Ok(expected);
        }
        self.input.routes = Some(found.trace.routes.clone());
        let after = self.reference()?.begin()?;
        let parted_before = |layer: usize| match parting(&known[..layer], &found.trace.routes) {
            Some(_) => 0,
            None => input.ids.len(),
        };
        expected.trace.routes = spliced_routes(known, &after.routes, parted_before);
        (expected.trace.hidden, expected.trace.last_block) = (after.hidden, after.last_block);
        Ok(expected)
    }

    /// Whether the encoder of the prompt at hand chose other experts.
    pub(super) fn follows_input(&self) -> bool {
        self.input.routes.is_some()
    }

    /// What a prompt should give.
    pub(super) fn prompt(&mut self, prompt: &Prompt) -> Result<Run> {
        match self.is_golden() {
            true => Ok(Run { trace: prompt.trace.clone(), ..Run::default() }),
            false => {
                let run = self.reference()?.prompt(&prompt.ids, prompt.ids.len())?;
                self.with_moved(run, &prompt.ids)
            }
        }
    }

    /// The same in chunks, by the reference.
    pub(super) fn chunked(&mut self, prompt: &Prompt, chunk: usize) -> Result<Run> {
        self.reference()?.prompt(&prompt.ids, chunk)
    }

    /// The greedy continuation of a prompt and the logits it was chosen from.
    pub(super) fn greedy_path(&mut self, prompt: &Prompt) -> Result<Run> {
        match self.is_golden() {
            true => Ok(Run {
                trace: Trace { logits: prompt.greedy_logits.clone(), ..Trace::default() },
                tokens: prompt.greedy_ids.clone(),
                ..Run::default()
            }),
            false => {
                let run = self.reference()?.greedy_path(prompt.start(), prompt.greedy_ids.len())?;
                let walked = [prompt.start(), &run.tokens[..run.tokens.len().saturating_sub(1)]].concat();
                self.with_moved(run, &walked)
            }
        }
    }

    /// What a run over `ids` should give that chose other experts than expected: what was expected up to the first
    /// such token, and from there what the reference computes with the run's experts. `None` where the run did not
    /// choose otherwise.
    ///
    /// `known` are the expected routes of the first tokens. A golden file has none of generated tokens: there the
    /// reference's own stand for them, and where those are all but undecided at the first token that misses, the file
    /// may have had others.
    pub(super) fn rerouted(
        &mut self,
        ids: &[u32],
        expected: &Run,
        known: &[RouteTrace],
        found: &Run,
        rounding: f64,
    ) -> Result<Option<Run>> {
        let vocab = self.case.source.config.vocab_size as usize;
        let reference = self.reference()?.follow(ids, &found.trace.routes)?;
        let recorded = known.first().map_or(0, RouteTrace::tokens);
        let known = spliced_routes(known, &reference.routes, |_| recorded);
        let first_row = ids.len().saturating_sub(expected.trace.logits.len() / vocab);
        let missed = first_miss(expected, found, vocab, rounding).map(|row| first_row + row);
        let undecided =
            |token: &usize| reference.routes.iter().any(|route| route.undecided(*token, rounding));
        let missed = missed.filter(|token| *token >= recorded).filter(undecided);
        let parted = parting(&known, &found.trace.routes);
        let Some(from) = parted.into_iter().chain(missed).min() else { return Ok(None) };

        // A layer's choices change what later layers see, so the token from which they do is another in each layer.
        let parted_before = |layer: usize| parting(&known[..layer], &found.trace.routes).unwrap_or(ids.len());
        let routes = spliced_routes(&known, &reference.routes, parted_before);
        let mut run = spliced_run(expected, &reference, ids.len(), first_row, from);
        run.trace.routes = routes;
        Ok(Some(run))
    }

    /// By how much more than itself a unit in the last place of each sub-layer's sum moves the logits of the case's prompts, as root mean squares; at
    /// least 1.
    pub(super) fn amplification(&mut self) -> Result<f64> {
        let (mut moved, mut all) = (0.0, 0.0);
        for prompt in &self.case.prompts {
            let ids = prompt.input.as_ref().map_or_else(Vec::new, |input| input.ids.clone());
            self.input = CpuInput { ids, routes: None };
            let (still, draws) = self.shaken(&prompt.ids)?;
            all += still.iter().map(|logit| f64::from(*logit).powi(2)).sum::<f64>() * draws.len() as f64;
            let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
            moved += draws.iter().flat_map(|draw| still.iter().zip(draw)).map(square).sum::<f64>();
        }
        let roundings = self.case.source.config.ops().count() as f64 + 1.0;
        // A unit in the last place, as a share of numbers between powers of two: sqrt(3 / (8 ln 2)) of the largest share.
        let once = f64::from(f32::EPSILON) * (0.375 / std::f64::consts::LN_2).sqrt() * roundings.sqrt();
        Ok(((moved / all.max(f64::MIN_POSITIVE)).sqrt() / once).max(1.0))
    }

    /// A run of the reference over `ids`, with how far roundings alone move its logits, where nothing else is rounded.
    fn with_moved(&mut self, run: Run, ids: &[u32]) -> Result<Run> {
        // Where more is rounded than sums, a bound on the root mean square is what holds.
        if self.arithmetic.path != ProductPath::Float || self.arithmetic.cache != CacheFormat::F32 {
            return Ok(run);
        }
        let rows = run.trace.logits.len() / self.case.source.config.vocab_size as usize;
        Ok(Run { moved: self.moved(ids, rows)?, ..run })
    }

    /// How far a unit in the last place of each sub-layer's sums moves the logits of the last `rows` tokens: the farthest of each token.
    fn moved(&mut self, ids: &[u32], rows: usize) -> Result<Vec<f64>> {
        let vocab = self.case.source.config.vocab_size as usize;
        let (still, draws) = self.shaken(ids)?;
        let mut moved = vec![0.0; rows];
        for draw in &draws {
            let tokens = still.chunks_exact(vocab).zip(draw.chunks_exact(vocab)).skip(ids.len() - rows);
            for (moved, (a, b)) in moved.iter_mut().zip(tokens) {
                *moved = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(*moved, f64::max);
            }
        }
        Ok(moved)
    }

    /// The reference's logits of all tokens; and with some draws of a unit in the last place in each sub-layer, but with the same
    /// experts.
    fn shaken(&mut self, ids: &[u32]) -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
        let reference = self.reference()?;
        let still = reference.prompt(ids, ids.len())?.trace;
        let mut draws = Vec::new();
        for draw in 1..=DRAWS {
            reference.conditions.shaken = draw;
            draws.push(reference.follow(ids, &still.routes).map(|trace| trace.logits));
        }
        reference.conditions.shaken = 0;
        Ok((still.logits, draws.into_iter().collect::<Result<_>>()?))
    }

    /// Whether weights are as in the file, keys and values too, and experts of an encoder, so that its outputs are what to expect.
    fn is_golden(&self) -> bool {
        self.is_as_in_file() && !self.follows_input()
    }

    fn is_as_in_file(&self) -> bool {
        self.plan.is_f32() && self.arithmetic.cache == CacheFormat::F32
    }

    fn reference(&mut self) -> Result<&mut OnCpu<'a>> {
        let reference = match &mut self.reference {
            Some(reference) => reference,
            empty => empty.insert(OnCpu::new(self.case, self.plan, &self.arithmetic)?),
        };
        reference.input.clone_from(&self.input);
        Ok(reference)
    }
}

/// Hidden states, logits and tokens of a run: those expected before the token `from`, then those of `after`, which has
/// `tokens` tokens and logits for all. The run has logits from the token `first_row` on.
fn spliced_run(expected: &Run, after: &Trace, tokens: usize, first_row: usize, from: usize) -> Run {
    let rows = |before: &[f32], after: &[f32]| splice(before, after, tokens, from);
    let trace = &expected.trace;
    let vocab = after.logits.len() / tokens.max(1);
    let (kept, of_logits) = (from.saturating_sub(first_row), &after.logits[first_row * vocab..]);
    let logits = splice(&trace.logits, of_logits, tokens - first_row, kept);
    let best = logits.chunks_exact(vocab).map(argmax).skip(kept);
    let chosen = expected.tokens.iter().copied().take(kept).chain(best).take(expected.tokens.len()).collect();
    let hidden = trace.hidden.iter().zip(&after.hidden);
    Run {
        trace: Trace {
            hidden: hidden.map(|(before, after)| rows(before, after)).collect(),
            last_block: rows(&trace.last_block, &after.last_block),
            logits,
            routes: Vec::new(),
        },
        tokens: chosen,
        moved: expected.moved.clone(),
    }
}

/// Each layer's routes: those of `before` for the first `from(layer)` tokens, where it has them, then those of `after`.
fn spliced_routes(
    before: &[RouteTrace],
    after: &[RouteTrace],
    from: impl Fn(usize) -> usize,
) -> Vec<RouteTrace> {
    let layer = |(layer, after): (usize, &RouteTrace)| {
        let (Some(before), tokens, from) = (before.get(layer), after.tokens(), from(layer)) else {
            return after.clone();
        };
        RouteTrace {
            logits: splice(&before.logits, &after.logits, tokens, from),
            keys: splice(&before.keys, &after.keys, tokens, from),
            next_groups: splice(&before.next_groups, &after.next_groups, tokens, from),
            margins: splice(&before.margins, &after.margins, tokens, from),
            experts: splice(&before.experts, &after.experts, tokens, from),
            weights: splice(&before.weights, &after.weights, tokens, from),
            top_k: after.top_k,
        }
    };
    after.iter().enumerate().map(layer).collect()
}

/// The first `from` of `rows` rows of one tensor, and the others of another.
fn splice<T: Clone>(before: &[T], after: &[T], rows: usize, from: usize) -> Vec<T> {
    let at = after.len() / rows.max(1) * from;
    before.iter().take(at).chain(after.iter().skip(at)).cloned().collect()
}
