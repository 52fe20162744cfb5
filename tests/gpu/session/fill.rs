//! Caches filled with random keys and values.

use wattle::fragments::CacheFormat;
use wattle::model::forward::Paging;
use wattle::model::{Feed, Model, SequenceOptions, Session, SessionOptions};

use super::harness::{greedy, model, session, submit, tokens};
use crate::harness::{block_on, gpu};
use crate::support::compare::assert_same;

fn options(cache: CacheFormat, paged: bool) -> SessionOptions {
    let paging = paged.then_some(Paging { page_tokens: 4, pages: 16 });
    SessionOptions { sequences: 2, paging, cache, sampling: None, ..greedy(40) }
}

/// The logits of a token after so many random ones.
fn after(model: &Model, options: SessionOptions, filled: u32, seed: u64) -> Vec<f32> {
    let mut session = session(model, options);
    let id = session.join(SequenceOptions::default()).unwrap();
    session.fill(id, filled, seed).unwrap();
    assert_eq!(session.position_of(id).unwrap(), filled);
    step(&mut session, id);
    block_on(session.logits_of(id)).unwrap()
}

fn step(session: &mut Session, id: wattle::model::SequenceId) {
    submit(gpu(), |encoder| session.step(encoder, &[(id, Feed::Token(3))]));
}

/// Every kind of cache: rings, pages, latents.
#[test]
fn a_seed_gives_the_same_keys_and_another_seed_others() {
    for name in ["gemma3_text", "deepseek_v3"] {
        let model = model(name);
        for cache in CacheFormat::ALL {
            for paged in [false, name == "gemma3_text"] {
                let of = |filled, seed| after(&model, options(cache, paged), filled, seed);
                let found = of(31, 1);
                assert!(found.iter().all(|logit| logit.is_finite()), "{name} in {cache}");
                assert_same(&format!("{name} in {cache}"), &of(31, 1), &found);
                assert!(of(31, 2) != found && of(30, 1) != found, "{name} in {cache}: a step sees no cache");
            }
        }
    }
}

#[test]
fn what_cannot_be_filled_is_refused_and_stays() {
    let gemma = model("gemma3_text");
    let mut session = super::harness::session(&gemma, options(CacheFormat::F32, true));
    let (first, other) = (session.first(), session.join(SequenceOptions::default()).unwrap());
    assert!(session.fill(other, 41, 1).unwrap_err().to_string().contains("context"));
    session.fill(first, 40, 1).unwrap();
    assert!(session.fill(first, 4, 1).unwrap_err().to_string().contains("already"));
    // Of 16 pages, 10 are taken.
    assert!(session.fill(other, 40, 1).unwrap_err().to_string().contains("pages"));
    assert_eq!((session.position_of(other).unwrap(), session.free_pages()), (0, Some(6)));
    session.fill(other, 24, 1).unwrap();
    session.leave(other).unwrap();
    assert!(session.fill(other, 1, 1).unwrap_err().to_string().contains("left"));
    let again = session.join(SequenceOptions::default()).unwrap();
    let ids = tokens(&gemma, 5);
    submit(gpu(), |encoder| session.step(encoder, &[(again, Feed::Prompt(&ids))]));
    assert!(session.fill(again, 8, 1).unwrap_err().to_string().contains("already"));
    assert_eq!(session.position_of(again).unwrap(), 5);

    let t5 = model("t5");
    let mut session = super::harness::session(&t5, SessionOptions { sampling: None, ..greedy(8) });
    assert!(session.fill(session.first(), 4, 1).unwrap_err().to_string().contains("encoder"));
}
