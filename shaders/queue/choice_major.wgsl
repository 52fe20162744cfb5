// All first choices are granted in the order of tokens, then all second ones (arXiv 2006.16668, algorithm 1).
fn queued_slot(place: u32) -> u32 {
    return (place % span.rows) * params.choices + place / span.rows;
}
