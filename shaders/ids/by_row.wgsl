// Tokens of a prompt, as they come.
@group(0) @binding(7) var<storage, read> token_ids: array<u32>;           // [rows]

fn token_id(row: u32) -> u32 {
    return token_ids[row];
}
