// The experts that a table has for the sequence's task (arXiv 2205.12755).
@group(0) @binding(2) var<storage, read> task: array<u32>;                // [1]
@group(0) @binding(3) var<storage, read> expert_table: array<f32>;        // [tasks, choices]

fn looked_up(row: u32, choice: u32) -> u32 {
    return u32(expert_table[task[0] * params.choices + choice]);
}
