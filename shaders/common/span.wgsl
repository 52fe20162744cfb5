// Which tokens this call computes: rows `position .. position + rows` of one sequence.
struct Span {
    position: u32,
    rows: u32,
    step: u32,   // tokens sampled so far: where the next one is recorded, and the noise stream's counter
    seed: u32,
}
@group(0) @binding(1) var<uniform> span: Span;
