// The row at an index of the tiles is the row of input and output.
fn slot_at(index: u32) -> u32 {
    return index;
}

fn input_at(index: u32) -> u32 {
    return index;
}
