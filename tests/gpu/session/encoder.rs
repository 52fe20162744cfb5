//! Models with an encoder: what it reads, when, and what a decoder sees of it.

use wattle::model::session::GenerateOptions;
use wattle::model::{Model, Session, SessionOptions};
use wattle::verify::Case;
use wattle::{Error, Result};

use super::harness::{feed, greedy, logits, model, session, source, step, submit, tokens};
use crate::harness::block_on;
use crate::support::compare::assert_same;
use crate::support::golden::directory;

const START: u32 = 0;

fn options(context: u32, encoder_tokens: u32) -> SessionOptions {
    SessionOptions { encoder_tokens, ..greedy(context) }
}

fn read(session: &mut Session, ids: &[u32]) {
    block_on(session.read(ids)).unwrap();
}

/// Logits of a few tokens after an input, one by one.
fn after(session: &mut Session, input: &[u32], ids: &[u32]) -> Vec<Vec<f32>> {
    read(session, input);
    ids.iter().map(|id| step(session, *id)).collect()
}

#[track_caller]
fn assert_refused(result: Result<()>, words: &[&str]) {
    let Err(Error::Request(message)) = result else {
        panic!("expected a refusal with {words:?}, found {result:?}")
    };
    words.iter().for_each(|word| assert!(message.contains(word), "'{message}' does not say '{word}'"));
}

#[test]
fn passes_out_of_turn_are_refused() {
    let model = model("t5");
    let gpu = model.gpu().clone();
    let mut session = session(&model, options(8, 5));
    let ids = tokens(&model, 6);
    assert_refused(block_on(session.feed(&ids[..2])), &["encode an input before decoding"]);
    let record = |encoder: &mut wattle::wgpu::CommandEncoder| session.decode_token(encoder, START);
    assert_refused(block_on(gpu.submit("test", record)), &["encode an input before decoding"]);
    assert_refused(
        block_on(session.read(&ids)),
        &["input of 6 tokens", "the 5 that the session is planned for"],
    );
    assert_refused(block_on(session.read(&[])), &["empty"]);
    assert_refused(block_on(session.read(&[model.config().vocab_size])), &["outside the vocabulary"]);
    assert_eq!(session.encoded(), None);

    read(&mut session, &ids[..5]);
    assert_eq!((session.encoded(), session.position()), (Some(5), 0));
    feed(&mut session, &ids[..3]);
    // What is refused leaves the sequence as it is.
    assert_refused(block_on(session.read(&ids)), &["input of 6 tokens"]);
    assert_eq!((session.encoded(), session.position()), (Some(5), 3));
    session.reset();
    assert_refused(block_on(session.feed(&ids[..2])), &["encode an input before decoding"]);
}

#[test]
fn a_decoder_alone_reads_no_input() {
    let model = model("llama");
    let mut session = session(&model, greedy(8));
    assert_refused(block_on(session.read(&[1, 2])), &["the model has no encoder"]);
}

#[test]
fn inputs_that_cannot_be_planned_are_refused() {
    let model = model("t5");
    for found in [0, model.config().context_length + 1] {
        let created = block_on(Session::new(&model, options(8, found)));
        assert_refused(created.map(|_| ()), &[&format!("input of {found} tokens")]);
    }
}

/// Of a longer input before it nothing is left, and each input begins a sequence.
#[test]
fn another_input_is_another_sequence() {
    for name in ["t5_gated", "switch_transformers"] {
        let model = model(name);
        let ids = tokens(&model, 30);
        let (long, short, answer) = (&ids[..20], &ids[20..27], &ids[27..]);
        let fresh = after(&mut session(&model, options(6, 20)), short, answer);
        let mut again = session(&model, options(6, 20));
        let of_long = after(&mut again, long, answer);
        let found = after(&mut again, short, answer);
        assert_same(&format!("{name}, after a longer input"), &found.concat(), &fresh.concat());
        assert_ne!(of_long, found, "{name}");
        assert_eq!((again.encoded(), again.position()), (Some(7), 3));
        // Room for a longer input is no part of the result.
        let exact = after(&mut session(&model, options(6, 7)), short, answer);
        for (exact, found) in exact.iter().zip(&found) {
            crate::support::compare::assert_close(name, found, exact, super::harness::CLOSE);
        }
    }
}

/// An input, the beginning of an answer and steps in one submit.
#[test]
fn everything_fits_into_one_submit() {
    let model = model("t5");
    let input = tokens(&model, 19);
    let mut one_by_one = session(&model, options(8, 19));
    read(&mut one_by_one, &input);
    feed(&mut one_by_one, &[START]);
    let gpu = model.gpu().clone();
    for _ in 0..3 {
        submit(&gpu, |encoder| one_by_one.decode(encoder));
    }
    let mut together = session(&model, options(8, 19));
    submit(&gpu, |encoder| {
        together.encode(encoder, &input)?;
        together.prefill(encoder, &[START], true)?;
        (0..3).try_for_each(|_| together.decode(encoder))
    });
    assert_same("logits", &logits(&together), &logits(&one_by_one));
    assert_eq!(block_on(together.last_sample()).unwrap(), block_on(one_by_one.last_sample()).unwrap());
}

/// An encoder that was dropped has read nothing.
#[test]
fn an_input_that_never_ran_is_taken_back() {
    let model = model("t5");
    let ids = tokens(&model, 12);
    let mut session = session(&model, options(8, 12));
    let mark = session.mark();
    let mut dropped = model.gpu().device().create_command_encoder(&Default::default());
    session.encode(&mut dropped, &ids).unwrap();
    drop(dropped);
    session.rewind(mark);
    assert_eq!(session.encoded(), None);
    read(&mut session, &ids[..5]);
    let expected = step(&mut session, START);
    let mark = session.mark();
    let mut dropped = model.gpu().device().create_command_encoder(&Default::default());
    session.encode(&mut dropped, &ids).unwrap();
    drop(dropped);
    session.rewind(mark);
    assert_eq!((session.encoded(), session.position()), (Some(5), 1));
    // The next token sees the input that was read, as one after the same tokens does.
    let found = step(&mut session, 3);
    let mut other = super::harness::session(&model, options(8, 12));
    read(&mut other, &ids[..5]);
    assert_same("first step", &step(&mut other, START), &expected);
    assert_same("second step", &step(&mut other, 3), &found);
}

/// The prompt goes to the encoder, and the answer is the golden one.
#[test]
fn generated_tokens_are_golden() {
    for name in ["t5", "t5_gated", "switch_transformers"] {
        let model: Model = model(name);
        let case = Case::open(&directory().join(name)).unwrap();
        let mut session = session(&model, options(40, 57));
        for prompt in &case.prompts {
            let input = &prompt.input.as_ref().unwrap().ids;
            let request = GenerateOptions { max_tokens: prompt.greedy_ids.len() as u32, stop_ids: vec![] };
            let generated =
                block_on(session.generate(input, &request, |_| std::ops::ControlFlow::Continue(())));
            assert_eq!(generated.unwrap().tokens, prompt.greedy_ids, "{name}");
        }
    }
}

/// Keys and values of the longest input, and nothing that grows with the square of it.
#[test]
fn memory_is_planned_beforehand() {
    let model = model("t5");
    let config = source("t5").config;
    let plan = |tokens| {
        let capabilities = model.gpu().capabilities();
        wattle::model::session::SessionPlan::new(&config, model.layout(), capabilities, &options(8, tokens))
            .unwrap()
    };
    let kv = |tokens: u32| {
        let named = plan(tokens).named_bytes();
        let of_layers = named.iter().filter(|(name, _)| name.ends_with("encoder_kv"));
        of_layers.map(|(_, bytes)| *bytes).collect::<Vec<_>>()
    };
    assert_eq!(kv(57), vec![57 * 2 * 32 * 4; 3]);
    let [less, more] = [1000, 2000].map(|tokens| plan(tokens).bytes());
    assert!(more <= 2 * less, "{less} bytes for half of the tokens, {more} for all");
    let tight = SessionOptions { memory_ceiling: Some(1000), ..options(8, 57) };
    assert!(matches!(block_on(Session::new(&model, tight)), Err(Error::Memory { .. })));
}
