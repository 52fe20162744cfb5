//! Passes on record: counts from the schedule, times from the device.

use std::collections::VecDeque;
use std::sync::Arc;

use web_time::Instant;

use super::notes::{HOST_BYTES, NoteBuffer, PendingNotes};
use super::{Note, PassTimer, StampBuffer, TimestampQuality, Work, note_bytes};
use crate::Result;
use crate::gpu::{Capabilities, Gpu};
use crate::kernel::Span;
use crate::schedule::Schedule;

/// How much is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing (L0).
    Off,
    /// Counts (L1). They are functions of schedule and span, so recording a pass is recording those two.
    #[default]
    Counts,
    /// Counts, and one time window per pass (L2).
    Window,
    /// Counts, and a pass and a window per dispatch (L4): a diagnosis that slows down what it measures.
    Dispatch,
}

impl Level {
    fn takes_times(self, capabilities: &Capabilities) -> bool {
        self >= Self::Window && capabilities.timestamps
    }

    /// Bytes that a ledger of this level takes on a device.
    pub fn device_bytes(self, capabilities: &Capabilities) -> u64 {
        if self.takes_times(capabilities) { StampBuffer::BYTES } else { 0 }
    }
}

/// What a pass was for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Tokens of a prompt.
    #[default]
    Prefill,
    /// One token of an answer.
    Decode,
}

/// Begin and end on the device's clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Begin.
    pub begin_ns: u64,
    /// End.
    pub end_ns: u64,
    /// How far they can be believed.
    pub quality: TimestampQuality,
}

impl Timing {
    const ABSENT: Self = Self { begin_ns: 0, end_ns: 0, quality: TimestampQuality::Absent };

    /// `most_ns` is what passed on the host's clock around it.
    fn new([begin_ns, end_ns]: [u64; 2], most_ns: u64) -> Self {
        let plausible = begin_ns != 0 && end_ns >= begin_ns && end_ns - begin_ns <= most_ns;
        let quality = if plausible { TimestampQuality::Exact } else { TimestampQuality::Invalid };
        Self { begin_ns, end_ns, quality }
    }

    /// End minus begin; `None` unless both can be believed.
    pub fn duration_ns(&self) -> Option<u64> {
        (self.quality == TimestampQuality::Exact).then(|| self.end_ns - self.begin_ns)
    }
}

/// One pass of a schedule.
#[derive(Clone, Debug)]
pub struct PassRecord {
    /// What ran.
    pub schedule: Arc<Schedule>,
    /// Over which tokens, of each sequence some.
    pub spans: Vec<Span>,
    /// The whole pass.
    pub window: Timing,
    /// Every dispatch, at [`Level::Dispatch`]; else empty.
    pub dispatches: Vec<Timing>,
    /// What its kernels left in the tensors that its schedule names for it; empty until [`Ledger::collect`], where there was
    /// no room, and of old passes ([`Ledger::dropped_notes`]).
    pub notes: Vec<Note>,
    recorded: Instant,
    pending: Option<Pending>,
    pub(super) pending_notes: Option<PendingNotes>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    word: usize,
    per_dispatch: bool,
}

impl PassRecord {
    /// Prefill or decode.
    pub fn phase(&self) -> Phase {
        self.schedule.phase
    }

    /// Tokens of all sequences.
    pub fn rows(&self) -> u32 {
        Span::total_rows(&self.spans)
    }

    fn resolve_notes(&mut self, words: &[u32]) {
        if let Some(notes) = self.pending_notes.as_ref().and_then(|pending| pending.resolve(words)) {
            (self.notes, self.pending_notes) = (notes, None);
        }
    }

    /// Takes its stamps, unless they are all zero: then it was recorded, and has not run.
    fn resolve(&mut self, stamps: &[u64]) {
        let Some(pending) = self.pending else { return };
        let pairs = if pending.per_dispatch { self.schedule.steps.len() } else { 1 };
        let Some(values) = stamps.get(pending.word..pending.word + 2 * pairs) else { return };
        if values.iter().all(|value| *value == 0) {
            return;
        }
        self.pending = None;
        let most_ns = u64::try_from(self.recorded.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let timings: Vec<_> = values.as_chunks().0.iter().map(|pair| Timing::new(*pair, most_ns)).collect();
        if let [first, .., last] | [first @ last] = &timings[..] {
            self.window = Timing::new([first.begin_ns, last.end_ns], most_ns);
        }
        if pending.per_dispatch {
            self.dispatches = timings;
        }
    }
}

/// What a kernel cost over all passes on record.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTotal {
    /// The kernel.
    pub kernel: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// What it moved and computed.
    pub work: Work,
    /// How long it ran, where every dispatch was timed.
    pub time_ns: Option<u64>,
}

/// The record of passes.
pub struct Ledger {
    level: Level,
    stamps: Option<StampBuffer>,
    pub(super) notes: Option<NoteBuffer>,
    pub(super) passes: VecDeque<PassRecord>,
    /// Passes recorded so far, those that are on record no more included.
    recorded: u64,
    dropped: u64,
    pub(super) dropped_notes: u64,
}

/// Passes that are kept; beyond it the oldest give way, and their number is on record.
const CAPACITY: usize = 16_384;

impl Ledger {
    /// An empty ledger. Levels with times fall back to counts on a device without timestamps.
    ///
    /// # Errors
    /// [`crate::Error::Gpu`] or [`crate::Error::Memory`] when the timestamp queries cannot be made.
    pub async fn new(gpu: &Gpu, level: Level) -> Result<Self> {
        let stamps =
            if level.takes_times(gpu.capabilities()) { Some(StampBuffer::new(gpu).await?) } else { None };
        let capacity = if level == Level::Off { 0 } else { CAPACITY };
        let passes = VecDeque::with_capacity(capacity);
        Ok(Self { level, stamps, notes: None, passes, recorded: 0, dropped: 0, dropped_notes: 0 })
    }

    /// The same with room for so many bytes of what passes leave in tensors, between two calls of [`Ledger::collect`].
    ///
    /// # Errors
    /// As [`Ledger::new`].
    pub async fn with_notes(gpu: &Gpu, level: Level, bytes: u64) -> Result<Self> {
        let ledger = Self::new(gpu, level).await?;
        let keeps = level > Level::Off && bytes > 0;
        let notes = if keeps { Some(NoteBuffer::new(gpu, bytes).await?) } else { None };
        Ok(Self { notes, ..ledger })
    }

    /// Bytes that so much room for notes takes on a device.
    pub const fn device_bytes_of_notes(room: u64) -> u64 {
        NoteBuffer::device_bytes(room)
    }

    /// How much is recorded.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The passes on record, oldest first.
    pub fn passes(&self) -> impl Iterator<Item = &PassRecord> {
        self.passes.iter()
    }

    /// Passes that gave way to newer ones.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Passes whose notes gave way to those of newer ones: 64 MiB are kept, or as much as there is room for on the device.
    pub fn dropped_notes(&self) -> u64 {
        self.dropped_notes
    }

    /// Forgets all passes.
    pub fn clear(&mut self) {
        self.passes.clear();
        (self.dropped, self.dropped_notes) = (0, 0);
    }

    /// How many passes were recorded, to come back to with [`Ledger::take_back`].
    pub(crate) fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Forgets the passes since there were so many: they will never run, and nothing is to wait for their times.
    pub(crate) fn take_back(&mut self, recorded: u64) {
        let taken = self.recorded.saturating_sub(recorded) as usize;
        self.passes.truncate(self.passes.len().saturating_sub(taken));
        self.recorded = self.recorded.min(recorded);
    }

    /// Whether one more pass, of so many rows, would have its times and its notes; if not, [`Ledger::collect`] makes room. A
    /// device has a few thousand timestamps at a time.
    pub fn has_room(&self, schedule: &Schedule, rows: u32) -> bool {
        let pairs = self.pairs(schedule.steps.len());
        let notes = note_bytes(schedule, rows);
        self.stamps.as_ref().is_none_or(|buffer| buffer.has_room(pairs))
            && self.notes.as_ref().is_none_or(|buffer| buffer.has_room(notes))
    }

    /// Pairs of timestamps of a pass.
    fn pairs(&self, dispatches: usize) -> usize {
        if self.level == Level::Dispatch { dispatches } else { 1 }
    }

    pub(crate) fn begin_pass(&mut self, schedule: &Arc<Schedule>, spans: &[Span]) -> Option<PassTimer> {
        if self.level == Level::Off {
            return None;
        }
        let per_dispatch = self.level == Level::Dispatch;
        let pairs = self.pairs(schedule.steps.len());
        let stamps = self.stamps.as_mut().and_then(|buffer| buffer.take(pairs));
        if self.passes.len() == CAPACITY {
            self.passes.pop_front();
            self.dropped += 1;
        }
        self.recorded += 1;
        self.passes.push_back(PassRecord {
            schedule: schedule.clone(),
            spans: spans.to_vec(),
            window: Timing::ABSENT,
            dispatches: Vec::new(),
            notes: Vec::new(),
            recorded: Instant::now(),
            pending: stamps.as_ref().map(|s| Pending { word: (s.offset / 8) as usize, per_dispatch }),
            pending_notes: None,
        });
        stamps.map(
            |stamps| {
                if per_dispatch { PassTimer::PerDispatch(stamps) } else { PassTimer::Whole(stamps) }
            },
        )
    }

    pub(crate) fn end_pass(&mut self, encoder: &mut wgpu::CommandEncoder, timer: Option<PassTimer>) {
        if let (Some(PassTimer::Whole(stamps) | PassTimer::PerDispatch(stamps)), Some(buffer)) =
            (&timer, &self.stamps)
        {
            buffer.resolve(encoder, stamps);
        }
    }

    /// Fetches the times and the notes of all passes submitted so far; passes that were recorded and not submitted stay without.
    /// The only call that waits for the device.
    ///
    /// # Errors
    /// [`crate::Error::Gpu`], [`crate::Error::DeviceLost`].
    pub async fn collect(&mut self, gpu: &Gpu) -> Result<()> {
        if let Some(buffer) = &mut self.stamps {
            let stamps = buffer.read(gpu).await?;
            for pass in &mut self.passes {
                pass.resolve(&stamps);
            }
            if self.passes.iter().all(|pass| pass.pending.is_none()) {
                buffer.restart();
            }
        }
        if let Some(buffer) = &mut self.notes {
            let words = buffer.read(gpu).await?;
            for pass in &mut self.passes {
                pass.resolve_notes(&words);
            }
            if self.passes.iter().all(|pass| pass.pending_notes.is_none()) {
                buffer.restart();
            }
            let most_bytes = buffer.room().max(HOST_BYTES);
            self.bound_notes(most_bytes);
        }
        Ok(())
    }

    /// Totals by kernel over the passes on record, most time first, else most bytes.
    pub fn by_kernel(&self) -> Vec<KernelTotal> {
        let mut totals: Vec<KernelTotal> = Vec::new();
        for pass in &self.passes {
            for (n, step) in pass.schedule.steps.iter().enumerate() {
                let kernel = step.launch.name();
                let time = pass.dispatches.get(n).and_then(Timing::duration_ns);
                let work = step.launch.work(&pass.spans);
                match totals.iter_mut().find(|total| total.kernel == kernel) {
                    Some(total) => {
                        total.calls += 1;
                        total.work += work;
                        total.time_ns = total.time_ns.zip(time).map(|(sum, time)| sum + time);
                    }
                    None => totals.push(KernelTotal { kernel, calls: 1, work, time_ns: time }),
                }
            }
        }
        totals.sort_by_key(|total| {
            std::cmp::Reverse((total.time_ns.unwrap_or(0), total.work.total_bytes().least))
        });
        totals
    }

    /// Device time of the passes of a phase, their tokens, and their number; `None` where a pass has no time.
    pub fn phase_time(&self, phase: Phase) -> Option<(u64, u64, u64)> {
        let mut sum = (0, 0, 0);
        for pass in self.passes.iter().filter(|pass| pass.phase() == phase) {
            sum.0 += pass.window.duration_ns()?;
            sum.1 += u64::from(pass.rows());
            sum.2 += 1;
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests;
