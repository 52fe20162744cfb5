//! Which tokens a call computes, on the host and as kernels read it.

use super::params;

/// Tokens of one sequence: positions `position .. position + rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// Tokens before these, all of them in the cache.
    pub position: u32,
    /// Tokens in this call.
    pub rows: u32,
}

impl Span {
    /// So many rows of no sequence in particular.
    pub fn of_rows(rows: u32) -> Self {
        Self { position: 0, rows }
    }

    /// Rows of several spans.
    pub fn total_rows(spans: &[Self]) -> u32 {
        spans.iter().map(|span| span.rows).sum()
    }
}

/// One span is a call over one sequence.
impl AsRef<[Span]> for Span {
    fn as_ref(&self) -> &[Span] {
        std::slice::from_ref(self)
    }
}

/// Sequences that one call can compute rows of.
pub const MAX_SEQUENCES: u32 = 128;

params! {
    /// What stands before the sequences of a call: `Span` in `common/span_struct.wgsl`.
    pub struct SpanHeader {
        /// Rows of all sequences.
        pub rows: u32,
        /// Sequences.
        pub sequences: u32,
        /// Where the outputs of sequences, a row for each, begin.
        pub first_output: u32,
        /// Nothing yet.
        pub reserved: u32,
    }
}

params! {
    /// The rows of one sequence in a call: `SequenceSpan` in `common/span_struct.wgsl`.
    pub struct SequenceSpan {
        /// Its first row; those of a sequence lie together, and sequences in order.
        pub first_row: u32,
        /// Its rows.
        pub rows: u32,
        /// Tokens of it before this call.
        pub position: u32,
        /// Its place among the caches.
        pub sequence: u32,
        /// Tokens sampled of it so far; [`SequenceSpan::UNSAMPLED`]: none is to be sampled.
        pub step: u32,
        /// Of its noise.
        pub seed: u32,
        /// Its task.
        pub task: u32,
        /// Nothing yet.
        pub reserved: u32,
    }
}

impl SequenceSpan {
    /// In place of a step: the call is no end of a prompt.
    pub const UNSAMPLED: u32 = u32::MAX;

    /// The span.
    pub fn span(self) -> Span {
        Span { position: self.position, rows: self.rows }
    }
}

impl From<Span> for SequenceSpan {
    /// Of the first sequence, nothing sampled yet, and no noise.
    fn from(Span { position, rows }: Span) -> Self {
        Self { first_row: 0, rows, position, sequence: 0, step: 0, seed: 0, task: 0, reserved: 0 }
    }
}

/// Bytes of the uniform.
pub const SPAN_BYTES: u64 =
    (size_of::<SpanHeader>() + MAX_SEQUENCES as usize * size_of::<SequenceSpan>()) as u64;

/// The uniform's contents as far as a call over some sequences reads them. Their rows are counted here.
pub fn span_bytes(first_output: u32, sequences: &[SequenceSpan]) -> Vec<u8> {
    let mut of = sequences.to_vec();
    let mut rows = 0;
    for sequence in &mut of {
        sequence.first_row = rows;
        rows += sequence.rows;
    }
    let header = SpanHeader { rows, sequences: of.len() as u32, first_output, reserved: 0 };
    [bytemuck::bytes_of(&header), bytemuck::cast_slice(&of)].concat()
}
