// The one token of each sequence that comes next, sampled or given. Needs: span.
@group(0) @binding(7) var<storage, read> token_ids: array<u32>;           // [sequences]

fn token_id(row: u32) -> u32 {
    return token_ids[span.each[row].sequence];
}
