//! What kernels left in tensors, kept for the ledger: copied at the end of a pass, read back with the timestamps.

use std::sync::Arc;

use super::Ledger;
use crate::Result;
use crate::gpu::Gpu;
use crate::schedule::Schedule;
use crate::tensor::{Tensor, read_staging};

/// Stands before the notes of a pass that ran.
const RAN: u32 = 1;

/// What a pass left in a tensor, as `u32` words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Name of the tensor.
    pub tensor: Arc<str>,
    /// Its rows of the pass.
    pub words: Vec<u32>,
}

/// A tensor whose rows the ledger keeps.
#[derive(Clone, Debug)]
pub(crate) struct NoteSource {
    pub(crate) name: Arc<str>,
    pub(crate) tensor: Tensor,
    /// Words of a row.
    pub(crate) row_words: u64,
}

/// Where the notes of a pass are, until they are fetched.
#[derive(Clone, Debug)]
pub(super) struct PendingNotes {
    first_word: usize,
    sources: Arc<[NoteSource]>,
    rows: u32,
}

/// Room for what passes leave, refilled after each read-back. Before the notes of each pass stands a word that says whether it
/// ran: routes may well be all zeros.
pub(super) struct NoteBuffer {
    kept: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// The word [`RAN`].
    ran: wgpu::Buffer,
    bytes: u64,
    used: u64,
}

impl NoteBuffer {
    /// Bytes on a device with so much room, if any: the notes, what they are read back through, and the word [`RAN`].
    pub(super) const fn device_bytes(room: u64) -> u64 {
        if room == 0 { 0 } else { 2 * room + 4 }
    }

    /// Bytes that there is room for.
    pub(super) fn room(&self) -> u64 {
        self.bytes
    }

    pub(super) async fn new(gpu: &Gpu, bytes: u64) -> Result<Self> {
        let copied = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let kept = gpu.buffer("notes", bytes, copied).await?;
        let read = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = gpu.buffer("notes read-back", bytes, read).await?;
        let ran = Tensor::upload(gpu, "notes mark", &[RAN]).await?.buffer().clone();
        Ok(Self { kept, staging, ran, bytes, used: 0 })
    }

    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.used + bytes <= self.bytes
    }

    /// Gives all room out again. Only when no recorded pass waits for its notes.
    pub(super) fn restart(&mut self) {
        self.used = 0;
    }

    /// Records the copies of what a pass of so many rows leaves; `None` until the next read-back when there is no room.
    fn keep(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        sources: &Arc<[NoteSource]>,
        rows: u32,
    ) -> Option<PendingNotes> {
        let bytes = |source: &NoteSource| 4 * source.row_words * u64::from(rows);
        if !self.has_room(4 + sources.iter().map(bytes).sum::<u64>()) {
            return None;
        }
        let first_word = (self.used / 4) as usize;
        encoder.copy_buffer_to_buffer(&self.ran, 0, &self.kept, self.used, 4);
        self.used += 4;
        for source in sources.iter() {
            let (from, offset) = (source.tensor.buffer(), source.tensor.offset());
            encoder.copy_buffer_to_buffer(from, offset, &self.kept, self.used, bytes(source));
            self.used += bytes(source);
        }
        Some(PendingNotes { first_word, sources: sources.clone(), rows })
    }

    /// All words kept so far; zeros where a pass has not run yet.
    pub(super) async fn read(&mut self, gpu: &Gpu) -> Result<Vec<u32>> {
        if self.used == 0 {
            return Ok(Vec::new());
        }
        gpu.submit("notes", |encoder| {
            encoder.copy_buffer_to_buffer(&self.kept, 0, &self.staging, 0, self.used);
            // What was read is gone, so that of room given out again nothing says that its pass ran.
            encoder.clear_buffer(&self.kept, 0, Some(self.used));
            Ok(())
        })
        .await?;
        read_staging(gpu, &self.staging, self.used).await
    }
}

impl PendingNotes {
    /// The notes; `None` where the pass was recorded, and has not run.
    pub(super) fn resolve(&self, words: &[u32]) -> Option<Vec<Note>> {
        let count = |source: &NoteSource| source.row_words as usize * self.rows as usize;
        let total: usize = self.sources.iter().map(count).sum();
        let mut rest = if_ran(words.get(self.first_word..=self.first_word + total)?)?;
        let note = |source: &NoteSource| {
            let (words, others) = rest.split_at(count(source));
            rest = others;
            Note { tensor: source.name.clone(), words: words.to_vec() }
        };
        Some(self.sources.iter().map(note).collect())
    }
}

/// What follows the word that says that a pass ran, if it says so.
pub(super) fn if_ran(words: &[u32]) -> Option<&[u32]> {
    words.split_first().filter(|(ran, _)| **ran == RAN).map(|(_, notes)| notes)
}

/// Bytes of notes that are kept on the host, unless the device has more room, of which all is to be seen; beyond it those of the
/// oldest passes give way.
pub(super) const HOST_BYTES: u64 = 64 << 20;

impl Ledger {
    /// Forgets the notes of the oldest passes beyond so many bytes, and counts those passes.
    pub(super) fn bound_notes(&mut self, most_bytes: u64) {
        let mut bytes = 0;
        for pass in self.passes.iter_mut().rev().filter(|pass| !pass.notes.is_empty()) {
            bytes += pass.notes.iter().map(|note| size_of_val(&note.words[..]) as u64).sum::<u64>();
            if bytes > most_bytes {
                pass.notes = Vec::new();
                self.dropped_notes += 1;
            }
        }
    }

    /// Keeps what the pass just recorded leaves behind.
    pub(crate) fn keep(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        sources: &Arc<[NoteSource]>,
        rows: u32,
    ) {
        if let (Some(buffer), Some(pass), false) =
            (&mut self.notes, self.passes.back_mut(), sources.is_empty())
        {
            pass.pending_notes = buffer.keep(encoder, sources, rows);
        }
    }
}

/// Bytes of what a pass of a schedule leaves, of so many rows; 0 where it leaves nothing.
pub(crate) fn note_bytes(schedule: &Schedule, rows: u32) -> u64 {
    if schedule.notes.is_empty() {
        return 0;
    }
    let words: u64 = schedule.notes.iter().map(|(_, row_words)| row_words).sum();
    4 * (1 + words * u64::from(rows))
}
