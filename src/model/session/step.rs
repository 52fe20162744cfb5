//! One step of many sequences: tokens of prompts, and the next token of each that has none left.

use super::sequences::{SequenceId, Sequences};
use super::upload::Upload;
use super::{Session, State};
use crate::kernel::{MAX_SEQUENCES, SequenceSpan, Span, span_bytes};
use crate::model::forward::{LogitRows, TokenGroups};
use crate::{Error, Result};

/// What a sequence does in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed<'a> {
    /// Reads tokens of a prompt that goes on.
    Part(&'a [u32]),
    /// Reads the last tokens of a prompt: logits follow, and a sampled token where the session samples.
    Prompt(&'a [u32]),
    /// Reads a token of the caller's; logits and a sampled token follow.
    Token(u32),
    /// Reads the token that was sampled last, which stays on the device; logits and a sampled token follow.
    Sampled,
}

impl Feed<'_> {
    fn rows(&self) -> usize {
        match self {
            Self::Part(ids) | Self::Prompt(ids) => ids.len(),
            Self::Token(_) | Self::Sampled => 1,
        }
    }

    fn is_prompt(&self) -> bool {
        matches!(self, Self::Part(_) | Self::Prompt(_))
    }
}

type Fed<'a> = (SequenceId, Feed<'a>);

impl Session {
    /// Records a step of some sequences, each once: at most two passes, one over the sequences that read one token and one over
    /// all tokens of prompts, of which there are up to [`Session::chunk_rows`]. Each pass reads every dense weight once, and has
    /// as many dispatches for many sequences as for one. Where the model's routing compares the tokens of a sequence, each prompt
    /// has a pass of its own, unless [`SessionOptions::token_groups`](super::SessionOptions::token_groups) is the batch.
    ///
    /// A sequence's results do not depend on who else is in the step, bit by bit, unless
    /// [`SessionOptions::batch_invariant`](super::SessionOptions::batch_invariant) is off or the batch competes for experts. How its prompt is cut into chunks is up
    /// to the caller: other chunks round otherwise.
    ///
    /// # Errors
    /// [`Error::Request`] for no sequence, one twice or one that has left, for no token, too many, one outside the vocabulary or
    /// beyond the context, for a sampled token where there is none, where the pages do not suffice,
    /// and where a model's encoder has read nothing yet; [`Error::DeviceLost`].
    /// Nothing has changed then for any sequence; what the encoder holds of the step is not to be submitted.
    pub fn step(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        feeds: &[(SequenceId, Feed<'_>)],
    ) -> Result<()> {
        self.check_step(feeds)?;
        self.gpu().check()?;
        let recorded = self.ledger.recorded();
        match self.record_step(encoder, feeds) {
            Ok((state, traced)) => {
                (self.state, self.traced) = (state, traced);
                Ok(())
            }
            Err(error) => {
                self.ledger.take_back(recorded);
                Err(error)
            }
        }
    }

    /// Records it, and gives what the session is to be then.
    fn record_step(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        feeds: &[Fed<'_>],
    ) -> Result<(State, Option<Vec<Span>>)> {
        let mut state = self.state.clone();
        state.sequences.forget_logits();
        for (id, feed) in feeds {
            let copies = state.sequences.grow(*id, feed.rows() as u32)?;
            self.caches.copy_pages(encoder, &copies);
        }
        let (prompts, steps): (Vec<Fed<'_>>, Vec<Fed<'_>>) =
            feeds.iter().partition(|(_, feed)| feed.is_prompt());
        let mut passes: Vec<&[Fed<'_>]> = Vec::new();
        passes.extend((!steps.is_empty()).then_some(&steps[..]));
        match self.compares_tokens && self.options.token_groups == TokenGroups::Sequence {
            true => passes.extend(prompts.chunks(1)),
            false => passes.extend((!prompts.is_empty()).then_some(&prompts[..])),
        }
        let (mut first_output, mut traced) = (0, None);
        for pass in passes {
            let spans = self.record_pass(encoder, pass, first_output, &mut state)?;
            first_output += spans.len() as u32;
            traced = pass[0].1.is_prompt().then_some(spans);
        }
        Ok((state, traced))
    }

    fn record_pass(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        feeds: &[Fed<'_>],
        first_output: u32,
        state: &mut State,
    ) -> Result<Vec<Span>> {
        let samples = self.options.sampling.is_some();
        let mut spans = Vec::with_capacity(feeds.len());
        for (id, feed) in feeds {
            let sequence = state.sequences.get(*id)?;
            let span = sequence.span(feed.rows() as u32);
            let ends = !matches!(feed, Feed::Part(_));
            spans.push(SequenceSpan {
                sequence: id.slot(),
                step: if ends { sequence.samples } else { SequenceSpan::UNSAMPLED },
                seed: sequence.options.seed,
                task: sequence.options.task.unwrap_or(0),
                ..span.into()
            });
        }
        self.send(encoder, feeds, (&spans, first_output), state)?;
        let of_host: Vec<Span> = spans.iter().map(|span| span.span()).collect();
        let ends = feeds.iter().any(|(_, feed)| matches!(feed, Feed::Prompt(_)));
        let pass = match feeds {
            [(_, feed), ..] if feed.is_prompt() => self.passes.of_prompt(&self.options, ends),
            feeds => self.passes.of_step(feeds.len()),
        };
        pass.encode(encoder, &of_host, &mut self.ledger)?;

        let has_logits = |feed: &Feed<'_>| !matches!(feed, Feed::Part(_));
        let mut rows = 0;
        for ((n, (id, feed)), span) in feeds.iter().enumerate().zip(&of_host) {
            let sequence = state.sequences.get_mut(*id)?;
            sequence.position += span.rows;
            rows += span.rows;
            let row = match self.options.logits {
                LogitRows::All if feed.is_prompt() => rows - 1,
                _ => first_output + n as u32,
            };
            sequence.next_on_device = samples && has_logits(feed);
            sequence.samples += u32::from(sequence.next_on_device);
            sequence.logits_row = has_logits(feed).then_some(row);
        }
        // Sampling has moved on those that it drew a token of.
        let moved = samples && feeds.iter().all(|(_, feed)| has_logits(feed));
        state.spans_on_device = moved.then(|| spans.into_iter().map(moved_on).collect());
        Ok(of_host)
    }

    /// Sends what the pass needs and the device does not have yet.
    fn send(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        feeds: &[Fed<'_>],
        (spans, first_output): (&[SequenceSpan], u32),
        state: &mut State,
    ) -> Result<()> {
        let mut upload = Upload::default();
        let goes_on = first_output == 0 && feeds.iter().all(|(_, feed)| matches!(feed, Feed::Sampled));
        if !goes_on || state.spans_on_device.as_deref() != Some(spans) {
            upload.add(&self.named["span"], 0, &span_bytes(first_output, spans));
        }
        if let Some(table) = self.named.get("page_table") {
            let row_bytes = table.bytes() / u64::from(self.options.sequences);
            for (id, _) in feeds {
                let (pages, sent) = (&state.sequences.get(*id)?.pages, &mut state.pages_on_device);
                let sent = &mut sent[id.slot() as usize];
                if sent != pages {
                    upload.add(table, u64::from(id.slot()) * row_bytes, bytemuck::cast_slice(pages));
                    sent.clone_from(pages);
                }
            }
        }
        let mut row = 0;
        for (id, feed) in feeds {
            match feed {
                Feed::Part(ids) | Feed::Prompt(ids) => {
                    upload.add(&self.named["token_ids"], 4 * row, bytemuck::cast_slice(ids));
                    row += ids.len() as u64;
                }
                Feed::Token(token) => {
                    upload.add(&self.named["next_ids"], 4 * u64::from(id.slot()), &token.to_ne_bytes());
                }
                Feed::Sampled => {}
            }
        }
        upload.record(self.gpu(), encoder)
    }

    fn check_step(&self, feeds: &[Fed<'_>]) -> Result<()> {
        let refuse = |message: String| Err(Error::Request(message));
        if feeds.is_empty() {
            return refuse("a step of no sequence".into());
        }
        if feeds.len() > MAX_SEQUENCES as usize {
            return refuse(format!("a step takes up to {MAX_SEQUENCES} sequences, found {}", feeds.len()));
        }
        let mut rows = 0;
        for (n, (id, feed)) in feeds.iter().enumerate() {
            if feeds[..n].iter().any(|(other, _)| other == id) {
                return refuse(format!("sequence {} is in the step twice", id.slot()));
            }
            rows += if feed.is_prompt() { feed.rows() } else { 0 };
            self.check_feed(&self.state.sequences, *id, feed)?;
        }
        self.check_encoded()?;
        if rows > self.chunk_rows as usize {
            return refuse(format!("a chunk has at most {} tokens, found {rows}", self.chunk_rows));
        }
        let (prompts, steps): (Vec<Fed<'_>>, Vec<Fed<'_>>) =
            feeds.iter().partition(|(_, feed)| feed.is_prompt());
        if self.options.logits == LogitRows::All && !prompts.is_empty() && !steps.is_empty() {
            return refuse(
                "where all rows have logits, a step has prompts or single tokens, not both".into(),
            );
        }
        let apart = self.compares_tokens && self.options.token_groups == TokenGroups::Sequence;
        if self.options.logits == LogitRows::All && apart && prompts.len() > 1 {
            return refuse(
                "where all rows have logits, and tokens compete within their sequence, a step has one prompt"
                    .into(),
            );
        }
        Ok(())
    }

    fn check_feed(&self, sequences: &Sequences, id: SequenceId, feed: &Feed<'_>) -> Result<()> {
        let sequence = sequences.get(id)?;
        match feed {
            Feed::Part(ids) | Feed::Prompt(ids) => self.check_tokens(sequence.position, ids),
            Feed::Token(token) => self.check_tokens(sequence.position, &[*token]),
            Feed::Sampled if !sequence.next_on_device => {
                Err(Error::Request("no token has been sampled; give one".into()))
            }
            Feed::Sampled => self.check_room(sequence.position, 1),
        }
    }
}

/// A span as sampling leaves it.
fn moved_on(span: SequenceSpan) -> SequenceSpan {
    SequenceSpan { rows: 1, position: span.position + span.rows, step: span.step + 1, ..span }
}
