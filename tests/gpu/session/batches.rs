//! Experts in steps of many sequences: planned once for all their tokens, and who competes with whom.

use std::collections::HashMap;

use wattle::kernel::Span;
use wattle::model::config::{Capacity, GrantOrder, Later, Routing, Score, Share, Topk};
use wattle::model::forward::{LogitRows, TokenGroups};
use wattle::model::plan::WeightPlan;
use wattle::model::slot::Place;
use wattle::model::{Feed, Model, SequenceId, SequenceOptions, Session, SessionOptions};
use wattle::reference::expert_plan::{plan_within, queue};
use wattle::reference::moe::{Router, Training};
use wattle::tuning::ProductPath;

use super::harness::{assert_row, greedy, model, session, submit, tokens, whole};
use super::routes::{EXPERTS, model as layers};
use crate::harness::{block_on, gpu};
use crate::support::compare::assert_same;
use crate::transposed::transposed;

/// More than look their experts up one by one.
const SEQUENCES: u32 = 11;

fn options() -> SessionOptions {
    SessionOptions { sequences: SEQUENCES, sampling: None, max_chunk: 16, ..greedy(24) }
}

fn joined(session: &mut Session) -> Vec<SequenceId> {
    let rest: Vec<_> = (1..SEQUENCES).map(|_| session.join(SequenceOptions::default()).unwrap()).collect();
    [vec![session.first()], rest].concat()
}

fn step(session: &mut Session, feeds: &[(SequenceId, Feed<'_>)]) {
    submit(gpu(), |encoder| session.step(encoder, feeds));
}

fn logits_of(session: &Session, id: SequenceId) -> Vec<f32> {
    block_on(session.logits_of(id)).unwrap()
}

/// A layer's rule, and what it needs.
#[derive(Clone, Copy, Debug)]
struct Rule {
    routing: Routing,
    top_k: u32,
    capacity: Option<Capacity>,
    training: Option<u32>,
}

impl Rule {
    fn new(routing: Routing, top_k: u32) -> Self {
        Self { routing, top_k, capacity: None, training: None }
    }

    /// Experts take half of their even share.
    fn within(self, order: GrantOrder) -> Self {
        Self { capacity: Some(Capacity { factor: 0.5, share: Share::PerChoice, order }), ..self }
    }

    fn trained(self) -> Self {
        Self { training: Some(5), ..self }
    }

    fn model(self, format: &str) -> Model {
        let config = layers(self.routing, self.top_k, self.capacity);
        let plan = WeightPlan::uniform(format.parse().unwrap());
        block_on(Model::random(gpu(), &config, plan, 3)).unwrap()
    }
}

fn softmax() -> Rule {
    Rule::new(Routing::softmax_topk(true), 2)
}

fn with(change: impl FnOnce(Topk) -> Topk) -> Rule {
    Rule::new(Routing::Topk(change(Topk::of(Score::Softmax))), 2)
}

/// Sequences at different places of the same tokens.
#[test]
fn steps_of_many_sequences_agree_with_whole_passes() {
    for name in ["mixtral_swa", "qwen2_moe", "gpt_oss", "phimoe"] {
        let model = model(name);
        let ids = tokens(&model, 24);
        let expected = whole(&model, &ids);
        let mut session = session(&model, options());
        let all = joined(&mut session);
        for (n, id) in all.iter().enumerate() {
            step(&mut session, &[(*id, Feed::Part(&ids[..n + 1]))]);
        }
        for at in 0..3 {
            let feeds: Vec<_> =
                all.iter().enumerate().map(|(n, id)| (*id, Feed::Token(ids[n + 1 + at]))).collect();
            step(&mut session, &feeds);
            for (n, id) in all.iter().enumerate() {
                assert_row(name, &logits_of(&session, *id), &expected, n + 1 + at);
            }
        }
    }
}

/// Whoever is in the step, at inference and as trained: nobody's token competes with another's.
#[test]
fn a_sequence_has_the_same_bits_in_any_company() {
    let balances = [Routing::Sinkhorn { iterations: 3 }, Routing::Base { epsilon: 0.01 }];
    let [sinkhorn, base] = balances.map(|routing| Rule::new(routing, 1).trained());
    for (rule, format, path) in [
        (softmax(), "f32", ProductPath::Float),
        (softmax(), "f16", ProductPath::Matrix),
        (softmax(), "int4", ProductPath::Float),
        (softmax(), "int8", ProductPath::Integer),
        (softmax().within(GrantOrder::TokenMajor), "f32", ProductPath::Float),
        (with(|topk| Topk { later: Later::AtLeast { share: 0.8 }, ..topk }), "f32", ProductPath::Float),
        (with(|topk| Topk { noise: true, ..topk }).trained(), "f32", ProductPath::Float),
        (Rule::new(Routing::ExpertChoice { factor: 2.0 }, 1), "f32", ProductPath::Float),
        (sinkhorn, "f32", ProductPath::Float),
        (base, "f32", ProductPath::Float),
    ] {
        let (model, training) = (rule.model(format), rule.training);
        let last = |company: usize| {
            let mut session = session(&model, SessionOptions { training, path, ..options() });
            let all = joined(&mut session);
            for (n, id) in all.iter().enumerate() {
                let prompt = [n as u32, 7, 9, 2 * n as u32 + 1];
                step(&mut session, &[(*id, Feed::Prompt(&prompt))]);
            }
            for token in [3, 40] {
                let feeds: Vec<_> = all[..company]
                    .iter()
                    .rev()
                    .enumerate()
                    .map(|(n, id)| (*id, Feed::Token(if n + 1 == company { token } else { n as u32 })))
                    .collect();
                step(&mut session, &feeds);
            }
            logits_of(&session, all[0])
        };
        let alone = last(1);
        for company in [2, SEQUENCES as usize] {
            let what = format!("{rule:?}, {format}, {path}, in a company of {company}");
            assert_same(&what, &last(company), &alone);
        }
    }
}

/// Asked for, all tokens of a pass compete: steps choose as the definition does of all their logits, and so do prompts together.
#[test]
fn a_batch_competes_where_it_is_asked_to() {
    for rule in [
        Rule::new(Routing::ExpertChoice { factor: 2.0 }, 1),
        Rule::new(Routing::Sinkhorn { iterations: 3 }, 1).trained(),
        Rule::new(Routing::Base { epsilon: 0.01 }, 1).trained(),
        softmax().within(GrantOrder::TokenMajor),
        softmax().within(GrantOrder::ChoiceMajor),
        softmax().within(GrantOrder::Priority),
    ] {
        let (model, training) = (rule.model("f32"), rule.training);
        for sequences in [3, SEQUENCES] {
            let passes = |token_groups| {
                let options =
                    SessionOptions { sequences, token_groups, training, router_telemetry: true, ..options() };
                let mut session = session(&model, options);
                let ids: Vec<_> = [session.first()]
                    .into_iter()
                    .chain((1..sequences).map(|_| session.join(SequenceOptions::default()).unwrap()))
                    .collect();
                step(
                    &mut session,
                    &[(ids[0], Feed::Prompt(&[1, 2, 3, 4, 5])), (ids[1], Feed::Prompt(&[6, 7]))],
                );
                let feeds: Vec<_> =
                    ids.iter().enumerate().map(|(n, id)| (*id, Feed::Token(5 * n as u32))).collect();
                step(&mut session, &feeds);
                block_on(session.ledger().collect(gpu())).unwrap();
                let found: Vec<_> = session.ledger().passes().cloned().collect();
                let metrics: Vec<_> = found.iter().map(|pass| session.router_metrics_of(pass)).collect();
                (found, metrics)
            };
            let (each, metrics) = passes(TokenGroups::Sequence);
            assert_eq!(each.len(), 3, "{rule:?}: a pass for each prompt, and a step");
            assert!(metrics[2].iter().all(|(_, found)| found.dropped == 0), "one token each: {metrics:?}");
            let (all, metrics) = passes(TokenGroups::Batch);
            assert_eq!(all.iter().map(|pass| pass.rows()).collect::<Vec<_>>(), [7, sequences], "{rule:?}");
            for (pass, metrics) in all.iter().zip(metrics) {
                let notes: HashMap<&str, &[u32]> =
                    pass.notes.iter().map(|note| (&*note.tensor, &note.words[..])).collect();
                for (place, found) in metrics {
                    assert_eq!(found.dropped > 0, rule.capacity.is_some(), "{rule:?}: {found:?}");
                    assert_chosen_together(rule, (place, &pass.spans), &notes);
                }
            }
        }
    }
}

/// Prompts whose tokens compete only within their own sequence are passes of their own, and each has all the room for logits.
#[test]
fn prompts_with_logits_of_all_rows_compete_one_at_a_time() {
    let rule = softmax().within(GrantOrder::TokenMajor);
    let model = rule.model("f32");
    let of = |token_groups| SessionOptions { logits: LogitRows::All, token_groups, ..options() };
    let mut session = session(&model, of(TokenGroups::Sequence));
    let ids = joined(&mut session);
    let feeds = [(ids[0], Feed::Prompt(&[1, 2][..])), (ids[1], Feed::Prompt(&[3][..]))];
    let mut encoder = gpu().device().create_command_encoder(&Default::default());
    let refused = session.step(&mut encoder, &feeds).unwrap_err().to_string();
    assert!(refused.contains("one prompt"), "{refused}");
    step(&mut session, &feeds[..1]);
    let mut session = super::harness::session(&model, of(TokenGroups::Batch));
    let ids = joined(&mut session);
    let feeds = [(ids[0], Feed::Prompt(&[1, 2][..])), (ids[1], Feed::Prompt(&[3][..]))];
    step(&mut session, &feeds);
}

/// What a router left of a pass is what its rule makes of all logits of the pass, and what experts take of it.
fn assert_chosen_together(rule: Rule, (place, spans): (Place, &[Span]), notes: &HashMap<&str, &[u32]>) {
    let words = |part: &str| notes[place.name(part).as_str()];
    let floats = |part: &str| words(part).iter().map(|word| f32::from_bits(*word)).collect::<Vec<_>>();
    let logits = floats("router_logits");
    let positions: Vec<u32> =
        spans.iter().flat_map(|span| span.position..span.position + span.rows).collect();
    let training = rule.training.map(|seed| Training { seed: place.seed(seed), positions: &positions });
    let (count, top_k) = (EXPERTS as usize, rule.top_k as usize);
    let router = Router { training, ..Router::new(rule.routing, count, top_k) };
    let expected = router.choose(&logits);
    if let Routing::ExpertChoice { .. } = rule.routing {
        let taken = |words: &[u32]| words.iter().map(|word| *word != u32::MAX).collect::<Vec<_>>();
        let expected = transposed(&taken(&expected), count);
        assert_eq!(taken(words("slot_of_choice")), expected, "{rule:?}, {place:?}");
        return;
    }
    assert_eq!(words("expert_of_slot"), expected, "{rule:?}, {place:?}");
    if let Some(capacity) = rule.capacity {
        let queue = queue(capacity.order, &floats("weight_of_slot"), top_k);
        let share = capacity.of(Span::total_rows(spans), rule.top_k, EXPERTS);
        let plan = plan_within(&expected, &queue, [count, top_k], share);
        assert_eq!(words("place_of_slot"), plan.slots, "{rule:?}, {place:?}");
    }
}
