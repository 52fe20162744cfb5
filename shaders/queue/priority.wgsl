// As choice_major, with tokens in an order of their own (arXiv 2106.05974, section 3).
@group(0) @binding(8) var<storage, read> token_of_rank: array<u32>;       // [rows]

fn queued_slot(place: u32) -> u32 {
    return token_of_rank[place % span.rows] * params.choices + place / span.rows;
}
