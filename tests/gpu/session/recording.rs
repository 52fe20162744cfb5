//! Passes recorded together are right, and the same work gives the same bits.

use wattle::Result;
use wattle::energy::Level;
use wattle::model::{Model, Session, SessionOptions};
use wattle::wgpu::CommandEncoder;

use super::harness::{assert_same_state, feed, greedy, model, session, state, submit, tokens};
use crate::harness::{block_on, gpu, own_gpu};

/// One thing to record.
#[derive(Clone, Copy)]
enum Call {
    Prefill(usize, bool),
    Decode,
    DecodeToken(usize),
}

/// A prompt in chunks, its end, steps on the device's tokens and on the caller's, another prompt, another step.
const CALLS: [Call; 10] = [
    Call::Prefill(5, false),
    Call::Prefill(9, false),
    Call::Prefill(3, true),
    Call::Decode,
    Call::Decode,
    Call::DecodeToken(1),
    Call::Decode,
    Call::Prefill(11, true),
    Call::Decode,
    Call::Prefill(1, true),
];

/// Records a call; `at` counts the caller's tokens.
fn record(
    session: &mut Session,
    encoder: &mut CommandEncoder,
    ids: &[u32],
    at: &mut usize,
    call: Call,
) -> Result<()> {
    let mut take = |count: usize| {
        *at += count;
        &ids[*at - count..*at]
    };
    match call {
        Call::Prefill(count, last) => session.prefill(encoder, take(count), last),
        Call::Decode => session.decode(encoder),
        Call::DecodeToken(count) => session.decode_token(encoder, take(count)[0]),
    }
}

fn one_by_one(model: &Model) -> Session {
    let (mut session, ids, mut at) = (session(model, greedy(64)), tokens(model, 64), 0);
    for call in CALLS {
        submit(model.gpu(), |encoder| record(&mut session, encoder, &ids, &mut at, call));
    }
    session
}

const MODELS: [&str; 4] = ["gemma2", "gemma3_text", "llama_bias", "mixtral_swa"];

#[test]
fn one_submit_for_all_passes_is_one_submit_for_each() {
    for name in MODELS {
        let model = model(name);
        let (mut together, ids, mut at) = (session(&model, greedy(64)), tokens(&model, 64), 0);
        submit(gpu(), |encoder| {
            CALLS.into_iter().try_for_each(|call| record(&mut together, encoder, &ids, &mut at, call))
        });
        assert_same_state(name, &together, &one_by_one(&model));
    }
}

#[test]
fn the_same_input_gives_the_same_bits() {
    for name in MODELS {
        let model = model(name);
        let mut first = one_by_one(&model);
        assert_same_state(name, &one_by_one(&model), &first);
        // The same session once more: nothing of the first sequence is left.
        let ids = tokens(&model, 20);
        feed(&mut first, &ids[..1]);
        first.reset();
        assert_eq!((first.position(), first.sampled()), (0, 0));
        let mut fresh = session(&model, greedy(64));
        for session in [&mut first, &mut fresh] {
            feed(session, &ids);
            submit(gpu(), |encoder| (0..20).try_for_each(|_| session.decode(encoder)));
        }
        let logits_and_samples = |session: &Session| {
            let state = state(session);
            (state[0].1.clone(), state[1].1[..session.sampled() as usize].to_vec())
        };
        assert_eq!(logits_and_samples(&first), logits_and_samples(&fresh), "{name} after reset");
    }
}

/// Two sequences of one model, and of two models, pass by pass in one encoder.
#[test]
fn sessions_do_not_disturb_each_other() {
    let models = ["gemma2", "mixtral"].map(model);
    let twins = [&models[0], &models[0], &models[1]];
    let mut sessions = twins.map(|model| session(model, greedy(64)));
    let prompts: Vec<_> = twins.iter().enumerate().map(|(n, m)| tokens(m, 12 + n)[n..].to_vec()).collect();
    submit(gpu(), |encoder| {
        for (session, prompt) in sessions.iter_mut().zip(&prompts) {
            session.prefill(encoder, prompt, true)?;
        }
        for _ in 0..6 {
            sessions.iter_mut().try_for_each(|session| session.decode(encoder))?;
        }
        Ok(())
    });
    for (n, model) in twins.into_iter().enumerate() {
        let mut alone = session(model, greedy(64));
        feed(&mut alone, &prompts[n]);
        for _ in 0..6 {
            submit(gpu(), |encoder| alone.decode(encoder));
        }
        assert_same_state(&format!("session {n}"), &sessions[n], &alone);
    }
}

/// A prompt and many steps are one submit, and what they need of the host goes in with them: the device is asked
/// for nothing before the end.
#[test]
fn nothing_is_read_back_before_the_logits() {
    let gpu = own_gpu();
    let model = super::harness::load(&gpu, "mixtral", &super::harness::F32).unwrap();
    let mut session = session(&model, greedy(64));
    let ids = tokens(&model, 20);
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    session.prefill(&mut encoder, &ids[..10], false).unwrap();
    session.prefill(&mut encoder, &ids[10..], true).unwrap();
    for _ in 0..30 {
        session.decode(&mut encoder).unwrap();
    }
    // Not a command has run so far, so nothing that was recorded can have come from a result.
    assert_eq!(session.sampled(), 31);
    assert_eq!(session.ledger().passes().count(), 32);
    gpu.queue().submit([encoder.finish()]);
    let samples = super::harness::words(&gpu, session.tensor("samples").unwrap());
    let mut alone = self::session(&model, greedy(64));
    feed(&mut alone, &ids);
    for (n, sample) in samples.iter().enumerate().take(30) {
        assert_eq!(block_on(alone.last_sample()).unwrap(), *sample, "token {n}");
        submit(&gpu, |encoder| alone.decode(encoder));
    }
}

#[test]
fn what_never_ran_is_taken_back() {
    let model = model("llama");
    let gpu = model.gpu().clone();
    let [mut rewound, mut plain] = [(), ()].map(|()| {
        let mut session = self::session(&model, greedy(64));
        feed(&mut session, &[5, 3, 9]);
        session
    });
    let mark = rewound.mark();
    let mut dropped = gpu.device().create_command_encoder(&Default::default());
    rewound.decode(&mut dropped).unwrap();
    rewound.decode(&mut dropped).unwrap();
    drop(dropped);
    rewound.rewind(mark.clone());
    assert_eq!(rewound.mark(), mark);
    for session in [&mut rewound, &mut plain] {
        submit(&gpu, |encoder| session.decode(encoder));
    }
    let [rewound, plain] = [rewound, plain].map(|session| block_on(session.logits(1)).unwrap());
    assert_eq!(rewound, plain);
}

#[test]
fn passes_that_have_not_run_have_no_time() {
    let model = model("llama");
    let gpu = model.gpu().clone();
    if !gpu.capabilities().timestamps {
        return;
    }
    let mut session = self::session(&model, SessionOptions { ledger: Level::Window, ..greedy(64) });
    feed(&mut session, &[5, 3, 9]);
    let mut later = gpu.device().create_command_encoder(&Default::default());
    session.decode(&mut later).unwrap();
    let times = |session: &mut Session| -> Vec<bool> {
        block_on(session.ledger().collect(&gpu)).unwrap();
        session.ledger().passes().map(|pass| pass.window.duration_ns().is_some()).collect()
    };
    assert_eq!(times(&mut session), [true, false]);
    assert_eq!(times(&mut session), [true, false], "and asking again changes nothing");
    gpu.queue().submit([later.finish()]);
    assert_eq!(times(&mut session), [true, true]);
}

/// Timestamps are few; a session that submits by itself collects them before they run out.
#[test]
fn every_pass_of_a_long_request_has_its_times() {
    let model = model("llama");
    let gpu = model.gpu().clone();
    if !gpu.capabilities().timestamps {
        return;
    }
    let options = SessionOptions { ledger: Level::Dispatch, ..greedy(64) };
    let mut session = self::session(&model, options);
    let dispatches = session.schedules()[1].steps.len();
    // Two stamps for each dispatch, 4096 of them: twice as many passes as have room.
    let passes = 4096 / dispatches;
    for n in 0..passes {
        if n % 60 == 0 {
            session.reset();
        }
        feed(&mut session, &[5]);
    }
    block_on(session.ledger().collect(&gpu)).unwrap();
    assert_eq!(session.ledger().passes().count(), passes);
    for (n, pass) in session.ledger().passes().enumerate() {
        assert_eq!(pass.dispatches.len(), pass.schedule.steps.len(), "pass {n} of {passes}");
        assert!(pass.window.duration_ns().is_some(), "pass {n} of {passes}: {:?}", pass.window);
    }
}
