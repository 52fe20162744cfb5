// The experts that a table has for the token's id (arXiv 2106.04426). Needs: token_id (ids/*).
@group(0) @binding(3) var<storage, read> expert_table: array<f32>;        // [vocabulary, choices]

fn looked_up(row: u32, choice: u32) -> u32 {
    return u32(expert_table[token_id(row) * params.choices + choice]);
}
