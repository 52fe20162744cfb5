// The experts that a table has for the sequence's task (arXiv 2205.12755). Needs: span, sequence_of (common/span).
@group(0) @binding(3) var<storage, read> expert_table: array<f32>;        // [tasks, choices]

fn looked_up(row: u32, choice: u32) -> u32 {
    return u32(expert_table[span.each[sequence_of(row)].task * params.choices + choice]);
}
