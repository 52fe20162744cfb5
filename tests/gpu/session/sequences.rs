//! Many sequences in one session: the same bits as alone, forks, cuts, pages.

use wattle::model::forward::{LogitRows, Paging};
use wattle::model::{Feed, Model, SequenceId, SequenceOptions, Session, SessionOptions};
use wattle::{Error, Result};

use super::harness::{assert_row, greedy, model, session, submit, tokens, whole};
use crate::harness::{block_on, gpu};
use crate::support::compare::assert_same;
use crate::support::random::Random;

/// Local and global attention, soft-capped and not, chunks, sinks, experts.
const MODELS: [&str; 5] = ["gemma2", "gemma3_text", "llama4_text", "gpt_oss", "mixtral_swa"];

/// For five sequences, of which three can have all of their context at a time.
fn options(paged: bool) -> SessionOptions {
    let paging = paged.then_some(Paging { page_tokens: 4, pages: 3 * 12 });
    SessionOptions { sequences: 5, paging, max_chunk: 12, sampling: None, ..greedy(48) }
}

fn step(session: &mut Session, feeds: &[(SequenceId, Feed<'_>)]) {
    submit(gpu(), |encoder| session.step(encoder, feeds));
}

fn logits_of(session: &Session, id: SequenceId) -> Vec<f32> {
    block_on(session.logits_of(id)).unwrap()
}

/// What was done with a sequence.
#[derive(Clone, Debug)]
enum Event {
    Part(Vec<u32>),
    Prompt(Vec<u32>),
    Token(u32),
    Cut(u32),
}

impl Event {
    fn feed(&self) -> Option<Feed<'_>> {
        match self {
            Self::Part(ids) => Some(Feed::Part(ids)),
            Self::Prompt(ids) => Some(Feed::Prompt(ids)),
            Self::Token(id) => Some(Feed::Token(*id)),
            Self::Cut(_) => None,
        }
    }
}

/// The logits that a sequence has in the end when it is all there is.
fn alone(model: &Model, options: SessionOptions, events: &[Event]) -> Vec<f32> {
    let mut session = session(model, options);
    let id = session.first();
    for event in events {
        match (event, event.feed()) {
            (Event::Cut(position), _) => session.truncate(id, *position).unwrap(),
            (_, Some(feed)) => step(&mut session, &[(id, feed)]),
            _ => {}
        }
    }
    logits_of(&session, id)
}

#[test]
fn sequences_have_the_same_bits_alone_and_together() {
    for (name, paged) in MODELS.into_iter().flat_map(|name| [(name, false), (name, true)]) {
        let model = model(name);
        let ids = tokens(&model, 48);
        let mut session = session(&model, options(paged));
        // Prompts of other lengths, one of which takes two chunks and so wraps its windows, and then steps of all.
        let rest: Vec<SequenceId> =
            (0..3).map(|_| session.join(SequenceOptions::default()).unwrap()).collect();
        let [a, b, c, d] = [session.first(), rest[0], rest[1], rest[2]];
        step(&mut session, &[(a, Feed::Part(&ids[..9])), (b, Feed::Prompt(&ids[20..22]))]);
        step(
            &mut session,
            &[(b, Feed::Token(5)), (a, Feed::Prompt(&ids[9..14])), (c, Feed::Prompt(&ids[3..10]))],
        );
        step(&mut session, &[(c, Feed::Token(1)), (d, Feed::Prompt(&ids[..12])), (a, Feed::Token(2))]);
        step(&mut session, &[(d, Feed::Token(3)), (a, Feed::Token(4)), (b, Feed::Token(6))]);
        let prompt = |range: std::ops::Range<usize>| Event::Prompt(ids[range].to_vec());
        let histories = [
            (a, vec![Event::Part(ids[..9].to_vec()), prompt(9..14), Event::Token(2), Event::Token(4)]),
            (b, vec![prompt(20..22), Event::Token(5), Event::Token(6)]),
            (d, vec![prompt(0..12), Event::Token(3)]),
        ];
        for (id, events) in histories {
            let what = format!("{name}, paged {paged}, sequence {}", id.slot());
            assert_same(&what, &logits_of(&session, id), &alone(&model, options(paged), &events));
        }
        assert!(block_on(session.logits_of(c)).is_err(), "it had no part in the last step");
    }
}

/// A step of many is what a step of one is, but for rounding.
#[test]
fn steps_of_many_agree_with_whole_passes() {
    for name in MODELS {
        let model = model(name);
        let ids = tokens(&model, 30);
        let expected = whole(&model, &ids);
        let mut session = session(&model, options(true));
        let others: Vec<SequenceId> =
            (0..2).map(|_| session.join(SequenceOptions::default()).unwrap()).collect();
        let all = [session.first(), others[0], others[1]];
        // Each is at another place of the same tokens.
        for (n, id) in all.into_iter().enumerate() {
            step(&mut session, &[(id, Feed::Part(&ids[..4 * n + 1]))]);
        }
        for at in 0..16 {
            let feeds: Vec<_> =
                all.iter().enumerate().map(|(n, id)| (*id, Feed::Token(ids[4 * n + 1 + at]))).collect();
            step(&mut session, &feeds);
            for (n, id) in all.into_iter().enumerate() {
                assert_row(name, &logits_of(&session, id), &expected, 4 * n + 1 + at);
            }
        }
    }
}

/// Tokens that were sampled stay on the device, whoever takes part in a step.
#[test]
fn sampled_tokens_stay_on_the_device() {
    let model = model("gemma3_text");
    let ids = tokens(&model, 12);
    let options =
        SessionOptions { sampling: Some(wattle::model::forward::Sampling::GREEDY), ..options(true) };
    let generated = |others: bool| {
        let mut session = session(&model, options.clone());
        let id = session.first();
        let other = session.join(SequenceOptions::default()).unwrap();
        let prompts = [(id, Feed::Prompt(&ids[..7])), (other, Feed::Prompt(&ids[8..]))];
        step(&mut session, if others { &prompts } else { &prompts[..1] });
        for n in 0..8 {
            // Together, in the other order, and without the other one.
            let both = [(id, Feed::Sampled), (other, Feed::Sampled)];
            let turned = [(other, Feed::Sampled), (id, Feed::Sampled)];
            let feeds = match (others, n % 3) {
                (true, 0) => &both[..],
                (true, 1) => &turned[..],
                _ => &both[..1],
            };
            step(&mut session, feeds);
        }
        assert_eq!(session.sampled_of(id).unwrap(), 9);
        block_on(session.samples_of(id)).unwrap()
    };
    assert_eq!(generated(true), generated(false));
}

#[test]
fn forks_go_on_where_they_began() {
    for (name, paged) in MODELS.into_iter().flat_map(|name| [(name, false), (name, true)]) {
        let model = model(name);
        let ids = tokens(&model, 30);
        let what = format!("{name}, paged {paged}");
        let mut session = session(&model, options(paged));
        let first = session.first();
        step(&mut session, &[(first, Feed::Prompt(&ids[..11]))]);
        let before = session.free_pages();
        let mut fork = first;
        submit(gpu(), |encoder| {
            fork = session.fork(encoder, first)?;
            Ok(())
        });
        assert_eq!(session.free_pages(), before, "{what}: pages are shared");
        step(&mut session, &[(first, Feed::Token(1)), (fork, Feed::Token(2))]);
        assert_eq!(session.free_pages(), before.map(|free| free - 1), "{what}: one page is written by both");
        step(&mut session, &[(fork, Feed::Prompt(&ids[11..22])), (first, Feed::Token(3))]);
        let prompt = || Event::Prompt(ids[..11].to_vec());
        let own = [prompt(), Event::Token(1), Event::Token(3)];
        assert_same(&what, &logits_of(&session, first), &alone(&model, options(paged), &own));
        let forked = [prompt(), Event::Token(2), Event::Prompt(ids[11..22].to_vec())];
        assert_same(&what, &logits_of(&session, fork), &alone(&model, options(paged), &forked));
    }
}

/// Sequences that join, go on, fork, are cut and leave by chance, against what each would be alone.
#[test]
fn sequences_come_and_go() {
    for (seed, name) in MODELS.into_iter().enumerate() {
        let model = model(name);
        let mut crowd = Crowd::new(&model, seed as u64);
        let mut counts = [0; 2];
        for _ in 0..50 {
            counts[usize::from(crowd.turn().is_err())] += 1;
        }
        assert!(
            counts.iter().all(|count| *count > 2),
            "{name}: some turns succeed and some are refused, {counts:?}"
        );
        crowd.check_all();
        crowd.end();
    }
}

struct Crowd<'a> {
    model: &'a Model,
    session: Session,
    random: Random,
    /// With what was done with each.
    members: Vec<(SequenceId, Vec<Event>)>,
    left: Vec<SequenceId>,
}

impl<'a> Crowd<'a> {
    fn new(model: &'a Model, seed: u64) -> Self {
        let session = session(model, options(true));
        let members = vec![(session.first(), Vec::new())];
        Self { model, session, random: Random::new(seed), members, left: Vec::new() }
    }

    fn below(&mut self, n: usize) -> usize {
        (self.random.bits() % n as u64) as usize
    }

    fn ids(&mut self, count: usize) -> Vec<u32> {
        let vocab = self.model.config().vocab_size as usize;
        (0..count).map(|_| self.below(vocab) as u32).collect()
    }

    /// Something happens. A refusal leaves everything as it was.
    fn turn(&mut self) -> Result<()> {
        let mark = self.session.mark();
        let done = self.try_turn();
        if done.is_err() {
            assert_eq!(self.session.mark(), mark, "a refused turn changes nothing");
        }
        done
    }

    fn try_turn(&mut self) -> Result<()> {
        let at = if self.members.is_empty() { None } else { Some(self.below(self.members.len())) };
        match (self.below(10), at) {
            (0 | 1, _) | (_, None) => {
                let id = self.session.join(SequenceOptions::default())?;
                self.members.push((id, Vec::new()));
            }
            (2, Some(at)) => {
                let (id, events) = self.members[at].clone();
                let mut fork = Ok(id);
                submit(gpu(), |encoder| {
                    fork = self.session.fork(encoder, id);
                    Ok(())
                });
                self.members.push((fork?, events));
            }
            (3, Some(at)) => {
                let id = self.members[at].0;
                let position = self.below(self.session.position_of(id)? as usize + 2) as u32;
                self.session.truncate(id, position)?;
                self.members[at].1.push(Event::Cut(position));
            }
            (4, Some(at)) => {
                let (id, _) = self.members.swap_remove(at);
                self.session.leave(id)?;
                self.left.push(id);
            }
            _ => return self.go_on(),
        }
        Ok(())
    }

    /// A step of some.
    fn go_on(&mut self) -> Result<()> {
        let mut taking_part = Vec::new();
        for at in 0..self.members.len() {
            if self.below(3) > 0 {
                let count = 1 + self.below(5);
                let ids = self.ids(count);
                let event = [Event::Token(ids[0]), Event::Prompt(ids.clone()), Event::Part(ids)];
                let which = self.below(3);
                taking_part.push((at, event[which].clone()));
            }
        }
        let feeds: Vec<_> =
            taking_part.iter().filter_map(|(at, event)| Some((self.members[*at].0, event.feed()?))).collect();
        let mut encoder = gpu().device().create_command_encoder(&Default::default());
        self.session.step(&mut encoder, &feeds)?;
        gpu().queue().submit([encoder.finish()]);
        for (at, event) in taking_part {
            self.members[at].1.push(event);
        }
        Ok(())
    }

    /// One token more for each, and its logits.
    fn check_all(&mut self) {
        for (id, mut events) in self.members.clone() {
            let position = self.session.position_of(id).unwrap();
            if position == 48 || self.session.free_pages() == Some(0) {
                continue;
            }
            step(&mut self.session, &[(id, Feed::Token(7))]);
            events.push(Event::Token(7));
            let what = format!("{}, {events:?}", self.model.config().name);
            assert_same(&what, &logits_of(&self.session, id), &alone(self.model, options(true), &events));
        }
    }

    /// No page is lost, and nobody comes back.
    fn end(mut self) {
        for (id, _) in std::mem::take(&mut self.members) {
            self.session.leave(id).unwrap();
            self.left.push(id);
        }
        assert_eq!(self.session.free_pages(), Some(36));
        assert_eq!(self.session.sequence_count(), 0);
        for id in self.left {
            assert!(matches!(self.session.leave(id), Err(Error::Request(_))));
            assert!(matches!(self.session.position_of(id), Err(Error::Request(_))));
        }
    }
}

#[test]
fn bad_steps_are_refused_and_change_nothing() {
    let model = model("gemma3_text");
    let ids = tokens(&model, 48);
    let options = SessionOptions { paging: Some(Paging { page_tokens: 4, pages: 5 }), ..options(true) };
    let mut session = session(&model, options);
    let first = session.first();
    let second = session.join(SequenceOptions::default()).unwrap();
    let gone = session.join(SequenceOptions::default()).unwrap();
    session.leave(gone).unwrap();
    step(&mut session, &[(first, Feed::Part(&ids[..12]))]);
    let mark = session.mark();
    let vocab = model.config().vocab_size;
    let cases: [(&[(SequenceId, Feed<'_>)], &str); 9] = [
        (&[], "no sequence"),
        (&[(gone, Feed::Token(1))], "has left"),
        (&[(second, Feed::Token(1)), (second, Feed::Token(1))], "twice"),
        (&[(first, Feed::Sampled)], "no token has been sampled"),
        (&[(second, Feed::Prompt(&[]))], "empty"),
        (&[(first, Feed::Token(1)), (second, Feed::Token(vocab))], "vocabulary"),
        (&[(first, Feed::Prompt(&ids[..7])), (second, Feed::Prompt(&ids[..6]))], "at most 12"),
        (&[(first, Feed::Part(&ids[..6])), (second, Feed::Part(&ids[..5]))], "are free"),
        (&[(first, Feed::Part(&ids[..40]))], "fit into a context"),
    ];
    for (feeds, why) in cases {
        let mut encoder = gpu().device().create_command_encoder(&Default::default());
        let error = session.step(&mut encoder, feeds).unwrap_err().to_string();
        assert!(error.contains(why), "{feeds:?}: {error}");
        assert_eq!(session.mark(), mark, "{feeds:?}");
    }
    for _ in 0..3 {
        session.join(SequenceOptions::default()).unwrap();
    }
    let error = session.join(SequenceOptions::default()).unwrap_err().to_string();
    assert!(error.contains("all places"), "{error}");
    let error = session.truncate(first, 5).unwrap_err().to_string();
    assert!(error.contains("local layers"), "{error}");
    session.truncate(first, 11).unwrap();
    for (sequences, why) in [(0, "0 sequences"), (129, "129 sequences")] {
        let refused = block_on(Session::new(&model, SessionOptions { sequences, ..greedy(8) }));
        assert!(refused.err().unwrap().to_string().contains(why));
    }
    let paging = Some(Paging { page_tokens: 0, pages: 1 });
    let refused = block_on(Session::new(&model, SessionOptions { paging, ..greedy(8) }));
    assert!(refused.err().unwrap().to_string().contains("hold nothing"));
}

/// Off, a step of one has kernels of its own, which round otherwise and no more than that.
#[test]
fn without_the_promise_a_lone_step_is_a_step_of_one() {
    let model = model("gemma3_text");
    let ids = tokens(&model, 20);
    let expected = whole(&model, &ids);
    let options = SessionOptions { batch_invariant: false, ..options(false) };
    let mut session = session(&model, options);
    let first = session.first();
    let other = session.join(SequenceOptions::default()).unwrap();
    step(&mut session, &[(first, Feed::Part(&ids[..10])), (other, Feed::Part(&ids[..2]))]);
    for (n, id) in ids[10..].iter().enumerate() {
        let both = [(first, Feed::Token(*id)), (other, Feed::Token(*id))];
        step(&mut session, &both[..1 + n % 2]);
        assert_row("gemma3_text", &logits_of(&session, first), &expected, 10 + n);
    }
}

#[test]
fn of_all_rows_a_sequence_has_its_last() {
    let model = model("mixtral_swa");
    let mut session =
        session(&model, SessionOptions { logits: LogitRows::All, sequences: 2, ..options(false) });
    let (first, second) = (session.first(), session.join(SequenceOptions::default()).unwrap());
    let ids = tokens(&model, 8);
    step(&mut session, &[(first, Feed::Prompt(&ids[..5])), (second, Feed::Prompt(&ids[5..]))]);
    let all = block_on(session.logits(8)).unwrap();
    for (id, row) in [(first, 4), (second, 7)] {
        assert_row("a prompt's last row", &logits_of(&session, id), &all, row);
    }
    step(&mut session, &[(first, Feed::Token(3)), (second, Feed::Token(9))]);
    let all = block_on(session.logits(2)).unwrap();
    for (row, id) in [first, second].into_iter().enumerate() {
        assert_row("a step's row", &logits_of(&session, id), &all, row);
    }
}
