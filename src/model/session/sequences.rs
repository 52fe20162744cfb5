//! The sequences of a session, as the host knows them: where each stands, and which pages it has.

use super::pages::{PageCopy, PagePool};
use crate::kernel::Span;
use crate::model::forward::Paging;
use crate::{Error, Result};

/// A sequence of a session. It is refused once the sequence has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId {
    slot: u32,
    generation: u32,
}

impl SequenceId {
    /// Its place among the caches, and in `samples`.
    pub fn slot(self) -> u32 {
        self.slot
    }
}

/// What a sequence has of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceOptions {
    /// Seed of the noise its tokens are drawn with.
    pub seed: u32,
    /// Its task, for models whose experts go by tasks.
    pub task: Option<u32>,
}

/// Where a sequence stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sequence {
    pub options: SequenceOptions,
    /// Tokens in the caches once everything recorded has run.
    pub position: u32,
    pub samples: u32,
    /// Whether the next token has been sampled, and is on the device.
    pub next_on_device: bool,
    pub pages: Vec<u32>,
    /// The row of `logits` that the last step left for it.
    pub logits_row: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Slot {
    generation: u32,
    sequence: Option<Sequence>,
}

/// What local layers keep of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Local {
    Window(u32),
    Chunk(u32),
}

/// All sequences.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sequences {
    slots: Vec<Slot>,
    pool: Option<PagePool>,
    local: Vec<Local>,
}

impl Sequences {
    pub fn new(count: u32, paging: Option<Paging>, local: Vec<Local>) -> Self {
        Self { slots: vec![Slot::default(); count as usize], pool: paging.map(PagePool::new), local }
    }

    /// Begins one.
    pub fn join(&mut self, options: SequenceOptions) -> Result<SequenceId> {
        self.put(Sequence { options, ..Sequence::default() })
    }

    fn put(&mut self, sequence: Sequence) -> Result<SequenceId> {
        let count = self.slots.len();
        let Some(at) = self.slots.iter().position(|slot| slot.sequence.is_none()) else {
            return Err(Error::Request(format!(
                "all places of the session are taken: it is for {count} sequences"
            )));
        };
        self.slots[at].sequence = Some(sequence);
        Ok(SequenceId { slot: at as u32, generation: self.slots[at].generation })
    }

    pub fn get(&self, id: SequenceId) -> Result<&Sequence> {
        let slot = self.slots.get(id.slot as usize).filter(|slot| slot.generation == id.generation);
        slot.and_then(|slot| slot.sequence.as_ref()).ok_or_else(gone)
    }

    pub fn get_mut(&mut self, id: SequenceId) -> Result<&mut Sequence> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation);
        slot.and_then(|slot| slot.sequence.as_mut()).ok_or_else(gone)
    }

    /// Begins another one where a sequence stands, with the same pages.
    pub fn fork(&mut self, id: SequenceId) -> Result<SequenceId> {
        let sequence = Sequence { samples: 0, logits_row: None, ..self.get(id)?.clone() };
        let pages = sequence.pages.clone();
        let fork = self.put(sequence)?;
        if let Some(pool) = &mut self.pool {
            pool.share(&pages);
        }
        Ok(fork)
    }

    /// Forgets a sequence's tokens from `position` on.
    pub fn truncate(&mut self, id: SequenceId, position: u32) -> Result<()> {
        let end = self.get(id)?.position;
        if position > end {
            return Err(Error::Request(format!("a sequence of {end} tokens cannot be cut to {position}")));
        }
        if let Some(local) = self.local.iter().find(|local| !local.keeps(end, position)) {
            return Err(Error::Request(format!(
                "a sequence of {end} tokens cannot be cut to {position}: local layers ({local:?}) have let go of what token \
                 {position} sees; fork a sequence before tokens that may be taken back"
            )));
        }
        let Sequence { pages, position: end, next_on_device, logits_row, .. } = self.get_mut(id)?;
        (*end, *next_on_device, *logits_row) = (position, false, None);
        let mut pages = std::mem::take(pages);
        if let Some(pool) = &mut self.pool {
            pool.shrink(&mut pages, position);
        }
        self.get_mut(id)?.pages = pages;
        Ok(())
    }

    /// Ends a sequence.
    pub fn leave(&mut self, id: SequenceId) -> Result<()> {
        let mut pages = std::mem::take(&mut self.get_mut(id)?.pages);
        if let Some(pool) = &mut self.pool {
            pool.shrink(&mut pages, 0);
        }
        let slot = &mut self.slots[id.slot as usize];
        *slot = Slot { generation: slot.generation.wrapping_add(1), sequence: None };
        Ok(())
    }

    /// Makes room for the next tokens of a sequence. What must be copied first comes back.
    pub fn grow(&mut self, id: SequenceId, rows: u32) -> Result<Vec<PageCopy>> {
        let sequence = self.get(id)?;
        let (from, to) = (sequence.position, sequence.position + rows);
        let mut pages = sequence.pages.clone();
        let Some(pool) = &mut self.pool else { return Ok(Vec::new()) };
        let copies = pool.grow(&mut pages, from, to)?;
        self.get_mut(id)?.pages = pages;
        Ok(copies)
    }

    /// Forgets which logits there are.
    pub fn forget_logits(&mut self) {
        self.slots.iter_mut().flat_map(|slot| &mut slot.sequence).for_each(|of| of.logits_row = None);
    }

    /// Sequences that have not left.
    pub fn count(&self) -> usize {
        self.slots.iter().filter(|slot| slot.sequence.is_some()).count()
    }

    /// Pages nobody has; none where there are no pages.
    pub fn free_pages(&self) -> Option<usize> {
        self.pool.as_ref().map(PagePool::free)
    }
}

impl Sequence {
    pub fn span(&self, rows: u32) -> Span {
        Span { position: self.position, rows }
    }
}

impl Local {
    /// Whether a layer still has what token `position` sees of those before it, after `end` tokens.
    fn keeps(self, end: u32, position: u32) -> bool {
        let (tokens, first) = match self {
            Self::Window(tokens) => (tokens, (position + 1).saturating_sub(tokens)),
            Self::Chunk(tokens) => (tokens, position - position % tokens),
        };
        first == position || first.saturating_add(tokens) >= end
    }
}

fn gone() -> Error {
    Error::Request("the sequence has left the session".into())
}

#[cfg(test)]
mod tests;
