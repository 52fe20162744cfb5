//! What the CPU reference makes of a prompt, as if another implementation had computed it.

use wattle::model::Source;
use wattle::model::plan::WeightPlan;
use wattle::reference::forward::{Cache, Conditions, encode, forward};
use wattle::reference::sample::argmax;
use wattle::reference::weights::Weights;
use wattle::tuning::ProductPath;
use wattle::verify::{Input, Prompt};

/// A prompt with its outputs, and so many greedy tokens after it.
pub fn prompt(
    source: &Source,
    weights: &Weights,
    conditions: Conditions,
    ids: Vec<u32>,
    greedy: usize,
) -> Prompt {
    prompt_after(source, weights, conditions, (None, ids), greedy)
}

/// The same after what an encoder reads.
pub fn prompt_after(
    source: &Source,
    weights: &Weights,
    conditions: Conditions,
    (input, ids): (Option<Vec<u32>>, Vec<u32>),
    greedy: usize,
) -> Prompt {
    let config = &source.config;
    let mut cache = Cache::under(config, conditions);
    let input = input.map(|ids| {
        let trace = encode(config, weights, &mut cache, &ids).unwrap();
        Input { ids, trace }
    });
    let trace = forward(config, weights, &mut cache, &ids).unwrap();
    let (mut greedy_ids, mut greedy_logits) = (Vec::new(), Vec::new());
    let mut logits = trace.logits[trace.logits.len() - config.vocab_size as usize..].to_vec();
    for _ in 0..greedy {
        let token = argmax(&logits);
        greedy_ids.push(token);
        greedy_logits.extend(logits);
        logits = forward(config, weights, &mut cache, &[token]).unwrap().logits;
    }
    let begin = ids.len();
    Prompt { input, ids, trace, begin, greedy_ids, greedy_logits }
}

/// The reference's weights in a plan's formats.
pub fn weights(source: &Source, plan: &WeightPlan) -> Weights {
    Weights::build(&source.config, plan, ProductPath::Float, |slot, shape| source.fetch(slot, shape)).unwrap()
}
