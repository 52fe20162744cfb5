//! Caches and contexts: rings that wrap, chunks of every length, and the end of the room.

use wattle::Error;
use wattle::energy::Phase;
use wattle::kernel::Span;
use wattle::model::session::SessionPlan;
use wattle::model::{Model, Session, SessionOptions};

use super::harness::{
    CLOSE, all_logits, assert_row, assert_unchanged, feed, greedy, logits, model, session, state, step,
    submit, tokens, whole,
};
use crate::harness::{block_on, gpu, own_gpu};
use crate::support::compare::assert_close;

/// Local and global attention, soft-capped and not, windows of 8 and 7, experts.
const MODELS: [&str; 4] = ["gemma2", "gemma3_text", "llama", "mixtral_swa"];

fn window(model: &Model) -> usize {
    let windows = model.config().ops().filter_map(|(_, op)| match op {
        wattle::model::config::Op::Attention(attention) => attention.reach(),
        _ => None,
    });
    windows.min().unwrap_or(8) as usize
}

#[test]
fn decoding_with_a_cache_is_recomputing() {
    for name in MODELS {
        let model = model(name);
        let ids = tokens(&model, 40);
        let expected = whole(&model, &ids);
        let mut session = session(&model, greedy(40));
        for (row, id) in ids.iter().enumerate() {
            assert_row(name, &step(&mut session, *id), &expected, row);
        }
    }
}

/// Feeds chunks one by one and checks every row's logits.
fn assert_chunks(model: &Model, lengths: &[usize], ids: &[u32], expected: &[f32]) {
    let mut session = session(model, all_logits(ids.len() as u32));
    let vocab = model.config().vocab_size as usize;
    let mut at = 0;
    for length in lengths.iter().cycle() {
        let chunk = &ids[at..ids.len().min(at + length)];
        if chunk.is_empty() {
            break;
        }
        submit(gpu(), |encoder| session.prefill(encoder, chunk, false));
        let what = format!("{}, chunks of {lengths:?}, {} rows from {at}", model.config().name, chunk.len());
        assert_close(
            &what,
            &block_on(session.logits(chunk.len())).unwrap(),
            &expected[at * vocab..][..chunk.len() * vocab],
            CLOSE,
        );
        at += chunk.len();
    }
}

#[test]
fn chunks_of_any_length_are_one_prompt() {
    for name in MODELS {
        let model = model(name);
        let ids = tokens(&model, 60);
        let expected = whole(&model, &ids);
        let w = window(&model);
        for lengths in [&[1][..], &[w - 1], &[w], &[w + 1], &[3 * w + 2], &[1, w + 1, 2, 2 * w, w - 1]] {
            assert_chunks(&model, lengths, &ids, &expected);
        }
    }
}

/// A ring that was filled by chunks, by steps and by both in turn.
#[test]
fn steps_and_chunks_take_turns() {
    for name in MODELS {
        let model = model(name);
        let ids = tokens(&model, 60);
        let expected = whole(&model, &ids);
        let mut session = session(&model, greedy(60));
        let w = window(&model);
        let mut at = 0;
        for (n, length) in [w + 1, 1, 1, 2 * w + 3, 1, 2, 1, 1, 5].into_iter().enumerate() {
            let chunk = &ids[at..at + length];
            match chunk {
                [id] if n % 2 == 1 => drop(step(&mut session, *id)),
                _ => feed(&mut session, chunk),
            }
            at += length;
            assert_row(name, &logits(&session), &expected, at - 1);
        }
    }
}

/// Asks for more than fits in every way, and expects nothing to change.
fn assert_full(session: &mut Session, id: u32) {
    let before = state(session);
    let (position, sampled) = (session.position(), session.sampled());
    let mut encoder = gpu().device().create_command_encoder(&Default::default());
    let refused = [
        session.prefill(&mut encoder, &[id], true),
        session.decode(&mut encoder),
        session.decode_token(&mut encoder, id),
        block_on(session.feed(&[id])),
    ];
    for (n, result) in refused.into_iter().enumerate() {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Request(_)), "call {n}: {error}");
        assert!(error.to_string().contains("context"), "call {n}: {error}");
    }
    gpu().queue().submit([encoder.finish()]);
    assert_eq!((session.position(), session.sampled()), (position, sampled));
    assert_unchanged("after a refusal", session, &before);
}

#[test]
fn a_full_context_takes_no_more() {
    for name in MODELS {
        let model = model(name);
        let ids = tokens(&model, 17);
        let mut session = session(&model, greedy(17));
        feed(&mut session, &ids[..15]);
        submit(gpu(), |encoder| (0..2).try_for_each(|_| session.decode(encoder)));
        assert_eq!((session.position(), session.sampled()), (17, 3));
        assert_full(&mut session, ids[0]);

        // All at once, and again after a reset.
        for _ in 0..2 {
            session.reset();
            feed(&mut session, &ids);
            assert_row(name, &logits(&session), &whole(&model, &ids), 16);
            assert_full(&mut session, ids[0]);
        }
        session.reset();
        let error = block_on(session.feed(&tokens(&model, 18))).unwrap_err();
        assert!(error.to_string().contains("18 tokens after 0"), "{error}");
        assert_eq!(session.position(), 0, "nothing of a prompt that is too long is fed");
    }
}

#[test]
fn a_context_of_one_token() {
    let model = model("gemma2");
    let mut session = session(&model, greedy(1));
    let ids = tokens(&model, 2);
    feed(&mut session, &ids[..1]);
    assert_row("one token", &logits(&session), &whole(&model, &ids), 0);
    assert_full(&mut session, ids[1]);
}

#[test]
fn a_work_budget_shortens_chunks() {
    let model = model("mixtral");
    let ids = tokens(&model, 50);
    let expected = whole(&model, &ids);
    let unbounded = SessionOptions { chunk_ops: u64::MAX, ..greedy(50) };
    assert_eq!(session(&model, unbounded.clone()).chunk_rows(), 50);
    assert_eq!(session(&model, SessionOptions { max_chunk: 9, ..unbounded.clone() }).chunk_rows(), 9);
    let plan = |options: &SessionOptions| {
        SessionPlan::new(model.config(), model.layout(), gpu().capabilities(), options).unwrap()
    };
    // A chunk costs most at the end of the context.
    let end = |rows: u32| Span { position: 50 - rows, rows };
    let ops = |rows| plan(&unbounded).prefill.0.work(end(rows)).total_ops().most;
    let mut rows = Vec::new();
    for chunk_ops in [0, ops(1), ops(7), ops(33)] {
        let options = SessionOptions { chunk_ops, ..unbounded.clone() };
        let mut session = session(&model, options.clone());
        let most = session.chunk_rows();
        let taken = plan(&options).prefill.0.most_ops(end(most));
        assert!(most == 1 || taken <= chunk_ops, "{most} rows take {taken} of {chunk_ops}");
        rows.push(most);
        feed(&mut session, &ids);
        assert_row(&format!("{chunk_ops} operations"), &logits(&session), &expected, 49);
        let phases: Vec<_> = session.ledger().passes().map(|pass| pass.phase()).collect();
        assert_eq!(phases, vec![Phase::Prefill; 50_usize.div_ceil(most as usize)]);
    }
    assert_eq!(rows[0], 1, "a single row always runs");
    assert!(rows.is_sorted() && rows[1] < rows[2] && rows[2] < rows[3] && rows[3] < 50, "{rows:?}");
}

#[test]
fn a_ceiling_refuses_before_anything_is_allocated() {
    let gpu = own_gpu();
    let allocated = || gpu.device().generate_allocator_report().map(|report| report.total_allocated_bytes);
    let model = super::harness::load(&gpu, "llama", &super::harness::F32).unwrap();
    let before = allocated();
    let refuse = |ceiling| {
        let options = SessionOptions { memory_ceiling: Some(ceiling), ..greedy(512) };
        block_on(Session::new(&model, options)).err()
    };
    let Some(Error::Memory { needed_bytes, available_bytes, .. }) = refuse(model.layout().bytes()) else {
        panic!("the weights alone fill the ceiling")
    };
    assert_eq!(available_bytes, model.layout().bytes());
    // Caches of four layers, two heads of 8 elements, 512 tokens.
    assert!(needed_bytes > available_bytes + 4 * 2 * 2 * 8 * 512 * 4, "{needed_bytes}");
    let error = refuse(needed_bytes - 1).unwrap();
    assert!(error.to_string().contains(&format!("needs {needed_bytes} bytes")), "{error}");
    assert_eq!(allocated(), before, "bytes on the device");
    assert!(refuse(needed_bytes).is_none(), "exactly enough is enough");
}
