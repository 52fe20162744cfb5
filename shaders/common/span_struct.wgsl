// Which tokens a call computes: rows `position .. position + rows` of one sequence. Mirrors `SpanUniform`.
struct Span {
    position: u32,
    rows: u32,
    step: u32,   // tokens sampled so far: where the next one is recorded, and the noise stream's counter
    seed: u32,
}
