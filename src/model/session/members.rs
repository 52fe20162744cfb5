//! Sequences that join a session, fork, are cut and leave.

use super::sequences::{Sequence, SequenceId, SequenceOptions};
use super::{Session, check_task};
use crate::Result;

impl Session {
    /// The sequence that is there from the beginning.
    pub fn first(&self) -> SequenceId {
        self.first
    }

    /// Begins another sequence.
    ///
    /// # Errors
    /// [`crate::Error::Request`] where all places are taken, or for a task that some layer does not have.
    pub fn join(&mut self, options: SequenceOptions) -> Result<SequenceId> {
        check_task(self.model().config(), options.task)?;
        self.state.sequences.join(options)
    }

    /// Begins another sequence where one stands once everything recorded has run, and records what that takes. The two share
    /// the pages of global layers until one writes; what local layers keep, and global ones without pages, is copied. The fork
    /// has no samples yet, but goes on with the token that was sampled last.
    ///
    /// # Errors
    /// [`crate::Error::Request`] where all places are taken, or the sequence has left.
    pub fn fork(&mut self, encoder: &mut wgpu::CommandEncoder, id: SequenceId) -> Result<SequenceId> {
        let fork = self.state.sequences.fork(id)?;
        self.caches.copy_own(encoder, [id.slot(), fork.slot()]);
        let places = [id, fork].map(|id| 4 * u64::from(id.slot()));
        self.caches.copy_within(encoder, &self.named["next_ids"], places, 4);
        Ok(fork)
    }

    /// Forgets a sequence's tokens from `position` on. Layers with a window forget as tokens come: beyond it, no more than one
    /// token can be taken back, and [`Session::fork`] before them is what helps.
    ///
    /// # Errors
    /// [`crate::Error::Request`] where the sequence is shorter or has left, and where some layer has let go of what the tokens
    /// before `position` left in it.
    pub fn truncate(&mut self, id: SequenceId, position: u32) -> Result<()> {
        self.traced = None;
        self.state.sequences.truncate(id, position)
    }

    /// Ends a sequence: its place and its pages are free.
    ///
    /// # Errors
    /// [`crate::Error::Request`] where it has left already.
    pub fn leave(&mut self, id: SequenceId) -> Result<()> {
        self.state.sequences.leave(id)
    }

    /// Sequences that have joined and not left.
    pub fn sequence_count(&self) -> usize {
        self.state.sequences.count()
    }

    /// Pages that no sequence has; none where each has room for its context.
    pub fn free_pages(&self) -> Option<usize> {
        self.state.sequences.free_pages()
    }

    /// Tokens of a sequence in the caches once everything recorded has run.
    ///
    /// # Errors
    /// [`crate::Error::Request`] where it has left.
    pub fn position_of(&self, id: SequenceId) -> Result<u32> {
        Ok(self.state.sequences.get(id)?.position)
    }

    /// Tokens sampled of a sequence so far. They are at the beginning of its row of `samples`, `[sequences, context]`.
    ///
    /// # Errors
    /// [`crate::Error::Request`] where it has left.
    pub fn sampled_of(&self, id: SequenceId) -> Result<u32> {
        Ok(self.state.sequences.get(id)?.samples)
    }

    /// The row of `logits`, `[sequences, V]`, that the last step left for a sequence; none where it had no part in it, or read a
    /// part of a prompt.
    ///
    /// # Errors
    /// [`crate::Error::Request`] where it has left.
    pub fn logits_row_of(&self, id: SequenceId) -> Result<Option<u32>> {
        Ok(self.state.sequences.get(id)?.logits_row)
    }

    /// Forgets all tokens of the first sequence, those of an encoder's input too.
    pub fn reset(&mut self) {
        (self.traced, self.state.encoded) = (None, None);
        let first = self.first;
        if self.state.sequences.truncate(first, 0).is_ok()
            && let Ok(sequence) = self.state.sequences.get_mut(first)
        {
            sequence.samples = 0;
        }
    }

    /// Tokens of the first sequence in the caches once everything recorded has run; 0 where it has left.
    pub fn position(&self) -> u32 {
        self.of_first(|sequence| sequence.position)
    }

    /// Tokens sampled of the first sequence so far; 0 where it has left.
    pub fn sampled(&self) -> u32 {
        self.of_first(|sequence| sequence.samples)
    }

    fn of_first(&self, what: impl Fn(&Sequence) -> u32) -> u32 {
        self.state.sequences.get(self.first).map_or(0, what)
    }
}
