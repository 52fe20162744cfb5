// The experts that a table has for the token's id (arXiv 2106.04426).
@group(0) @binding(2) var<storage, read> token_ids: array<u32>;           // [rows]
@group(0) @binding(3) var<storage, read> expert_table: array<f32>;        // [vocabulary, choices]

fn looked_up(row: u32, choice: u32) -> u32 {
    return u32(expert_table[token_ids[row] * params.choices + choice]);
}
