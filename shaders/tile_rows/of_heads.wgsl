// Tiles go over the tokens of a head; input and output have a row for each head of each token, [tokens, heads].
fn slot_at(index: u32) -> u32 {
    return index % span.rows * params.choices + index / span.rows;
}

fn input_at(index: u32) -> u32 {
    return slot_at(index);
}
