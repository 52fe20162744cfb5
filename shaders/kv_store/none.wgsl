// There are queries alone: keys and values are another layer's.
fn store_row(is_value: bool, row: u32, lane: u32) {
}
