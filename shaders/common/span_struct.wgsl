// Which tokens a call computes: rows of some sequences, those of each together. Mirrors `SpanHeader` and `SequenceSpan`.
const MAX_SEQUENCES: u32 = 128u;
const UNSAMPLED: u32 = 0xffffffffu;

struct SequenceSpan {
    first_row: u32,
    rows: u32,
    position: u32,  // tokens before the first row
    sequence: u32,  // place among the caches
    step: u32,      // tokens sampled so far: where the next one is recorded, and the noise stream's counter; UNSAMPLED: none is
    seed: u32,
    task: u32,
    reserved: u32,
}

struct Span {
    rows: u32,
    sequences: u32,
    first_output: u32,  // where the outputs of sequences begin, a row for each
    reserved: u32,
    each: array<SequenceSpan, MAX_SEQUENCES>,
}
