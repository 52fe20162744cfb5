//! Prompts and answers: what is fed, when it stops, how tokens are drawn.

use std::ops::ControlFlow;

use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::session::{GenerateOptions, Generated};
use wattle::model::{Model, Session, SessionOptions};
use wattle::reference::sample::{argmax, nucleus, sample_nucleus};
use wattle::{Error, Result};

use super::harness::{greedy, logits, model, session, submit, tokens};
use crate::harness::{block_on, gpu};
use crate::support::golden::Golden;

fn answer(session: &mut Session, prompt: &[u32], max_tokens: u32, stop_ids: &[u32]) -> Result<Generated> {
    let options = GenerateOptions { max_tokens, stop_ids: stop_ids.to_vec() };
    block_on(session.generate(prompt, &options, |_| ControlFlow::Continue(())))
}

/// The first golden prompt of a model and its greedy continuation.
fn golden(name: &str) -> (Vec<u32>, Vec<u32>) {
    let file = Golden::open(&format!("{name}/golden"));
    let first = |tensor: &str| {
        let (all, batch) = (file.indices(tensor), file.shape(tensor)[0]);
        all[..all.len() / batch].to_vec()
    };
    (first("input_ids"), first("greedy_ids"))
}

#[test]
fn answers_are_golden_and_stop_where_they_should() {
    for name in ["gemma3_text", "mixtral"] {
        let model = model(name);
        let (prompt, expected) = golden(name);
        let count = expected.len() as u32;
        let mut session = session(&model, greedy(prompt.len() as u32 + count));
        let mut run = |max_tokens, stop_ids: &[u32]| {
            session.reset();
            let generated = answer(&mut session, &prompt, max_tokens, stop_ids).unwrap();
            (generated.tokens, session.position())
        };
        let fed = prompt.len() as u32;
        assert_eq!(run(count, &[]), (expected.clone(), fed + count - 1), "{name}");
        assert_eq!(run(1, &[]), (expected[..1].to_vec(), fed), "{name}: one token");
        assert_eq!(run(0, &[]), (vec![], fed), "{name}: no token");
        let stop = expected[3];
        let end = expected.iter().position(|id| *id == stop).unwrap() + 1;
        assert_eq!(run(count, &[stop, 1 << 20]).0, expected[..end], "{name}: stop token");
    }
}

#[test]
fn tokens_come_as_they_are_drawn_until_the_caller_has_enough() {
    let model = model("llama");
    let (prompt, expected) = golden("llama");
    let mut session = session(&model, greedy(128));
    let mut seen = Vec::new();
    let options = GenerateOptions { max_tokens: 100, stop_ids: vec![] };
    let on_token = |token| {
        seen.push(token);
        if seen.len() == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let generated = block_on(session.generate(&prompt, &options, on_token)).unwrap();
    assert_eq!(seen, expected[..4]);
    assert_eq!(generated.tokens, seen);
    assert!(!generated.time_to_first_token.is_zero() && !generated.decode_time.is_zero());
    // The conversation goes on: the last token was not fed, so it comes first.
    let more = [seen.last().copied().unwrap(), prompt[0]];
    let position = session.position();
    answer(&mut session, &more, 2, &[]).unwrap();
    assert_eq!(session.position(), position + 3);
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T>, session: &mut Session, word: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Request(_)), "{error:?}");
    assert!(error.to_string().contains(word), "'{error}' does not say '{word}'");
    assert_eq!((session.position(), session.sampled()), (0, 0), "{error}");
    assert_eq!(session.ledger().passes().count(), 0, "{error}: something was recorded");
}

#[test]
fn requests_that_cannot_be_served_change_nothing() {
    let model = model("llama");
    let vocab = model.config().vocab_size;
    let mut session = session(&model, SessionOptions { max_chunk: 4, ..greedy(16) });
    let result = block_on(session.feed(&[]));
    assert_refused(result, &mut session, "empty");
    let result = answer(&mut session, &[], 3, &[]);
    assert_refused(result, &mut session, "empty");
    let result = block_on(session.feed(&[1; 17]));
    assert_refused(result, &mut session, "17 tokens");
    let result = answer(&mut session, &[1; 10], 8, &[]);
    assert_refused(result, &mut session, "context of 16");
    // The stranger is in the second chunk.
    let result = block_on(session.feed(&[1, 2, 3, 4, 5, vocab]));
    assert_refused(result, &mut session, &format!("token {vocab} is outside"));
    let mut encoder = gpu().device().create_command_encoder(&Default::default());
    let result = session.prefill(&mut encoder, &[1; 5], true);
    assert_refused(result, &mut session, "at most 4");
    let result = session.decode_token(&mut encoder, vocab);
    assert_refused(result, &mut session, "outside");
    let result = session.decode(&mut encoder);
    assert_refused(result, &mut session, "no token has been sampled");
    let result = block_on(session.last_sample());
    assert_refused(result, &mut session, "no token has been sampled");

    let mut silent = self::session(&model, SessionOptions { sampling: None, ..greedy(16) });
    let result = answer(&mut silent, &[1], 1, &[]);
    assert_refused(result, &mut silent, "does not sample");
}

#[test]
fn a_part_of_a_prompt_draws_no_token() {
    let model = model("llama");
    let mut session = session(&model, greedy(16));
    submit(gpu(), |encoder| session.prefill(encoder, &[1, 2, 3], true));
    submit(gpu(), |encoder| session.prefill(encoder, &[4, 5], false));
    assert_eq!(session.sampled(), 1);
    let mut encoder = gpu().device().create_command_encoder(&Default::default());
    let error = session.decode(&mut encoder).unwrap_err();
    assert!(error.to_string().contains("no token has been sampled"), "{error}");
}

#[test]
fn options_out_of_range_are_refused() {
    let model = model("llama");
    let with = |sampling: Sampling| SessionOptions::new(16, sampling);
    let sampling = Sampling { temperature: 1.0, ..Sampling::GREEDY };
    let refused = [
        greedy(0),
        greedy(model.config().context_length + 1),
        SessionOptions { max_chunk: 0, ..greedy(16) },
        SessionOptions { logits: LogitRows::All, ..greedy(16) },
        with(Sampling { temperature: -1.0, ..sampling }),
        with(Sampling { temperature: f32::NAN, ..sampling }),
        with(Sampling { temperature: f32::INFINITY, ..sampling }),
        with(Sampling { temperature: 1e-40, ..sampling }),
        with(Sampling { top_p: 0.0, ..sampling }),
        with(Sampling { top_p: 1.1, ..sampling }),
        with(Sampling { top_p: f32::NAN, ..sampling }),
        with(Sampling { top_k: Sampling::MOST_KEPT + 1, ..sampling }),
    ];
    for options in refused {
        let shown = format!("{options:?}");
        let error =
            block_on(Session::new(&model, options)).err().unwrap_or_else(|| panic!("accepted: {shown}"));
        assert!(matches!(error, Error::Request(_)), "{shown}: {error}");
    }
}

fn drawn(model: &Model, sampling: Sampling) -> Vec<u32> {
    let mut session = session(model, SessionOptions::new(64, sampling));
    answer(&mut session, &tokens(model, 8), 24, &[]).unwrap().tokens
}

#[test]
fn a_seed_draws_the_same_tokens_and_another_draws_others() {
    let model = model("mixtral");
    let base = Sampling { temperature: 1.5, top_k: 0, top_p: 1.0, seed: 7 };
    let ways = [base, Sampling { top_k: 20, ..base }, Sampling { top_p: 0.9, ..base }];
    for sampling in ways {
        let first = drawn(&model, sampling);
        assert_eq!(drawn(&model, sampling), first, "{sampling:?}");
        assert_ne!(drawn(&model, Sampling { seed: 8, ..sampling }), first, "{sampling:?}");
    }
    let best = drawn(&model, Sampling::GREEDY);
    assert_eq!(drawn(&model, Sampling { top_k: 1, ..base }), best, "the best of one");
    assert_eq!(drawn(&model, Sampling { top_p: 1e-6, ..base }), best, "a nucleus of one");
    assert_eq!(drawn(&model, Sampling { temperature: 1e-6, ..base }), best, "hardly any noise");
    assert_eq!(drawn(&model, Sampling { seed: 3, ..Sampling::GREEDY }), best, "no noise");
}

/// A token and the logits it was drawn from belong together.
#[test]
fn greedy_tokens_are_the_best_logits() {
    let model = model("gemma2");
    let mut session = session(&model, greedy(32));
    block_on(session.feed(&tokens(&model, 9))).unwrap();
    for _ in 0..10 {
        let best = argmax(&logits(&session));
        assert_eq!(block_on(session.last_sample()).unwrap(), best);
        submit(gpu(), |encoder| session.decode(encoder));
    }
}

/// With `top_k` a nucleus is of what that keeps, without it of the whole softmax.
#[test]
fn drawn_tokens_are_those_of_the_reference() {
    let model = model("gemma2");
    let base = Sampling { temperature: 1.5, seed: 5, ..Sampling::GREEDY };
    for (top_k, top_p) in [(0, 0.3), (20, 0.3), (20, 1.0)] {
        let sampling = Sampling { top_k, top_p, ..base };
        let mut session = session(&model, SessionOptions::new(32, sampling));
        block_on(session.feed(&tokens(&model, 9))).unwrap();
        let kept = if top_k > 0 { top_k } else { Sampling::MOST_KEPT };
        for draw in 0..10 {
            let nucleus = nucleus(&logits(&session), 1.0 / 1.5, kept as usize, top_k > 0, top_p);
            let expected = sample_nucleus(&nucleus, base.seed, draw);
            assert_eq!(block_on(session.last_sample()).unwrap(), expected, "{sampling:?}, draw {draw}");
            submit(gpu(), |encoder| session.decode(encoder));
        }
    }
}
