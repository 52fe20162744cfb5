// Keys and values of a prompt's chunk wait in a buffer of their own, by row, until attention has read what they replace.
fn destination_row(row: u32, kv_head: u32, position: u32) -> u32 {
    return kv_head * params.slots + row;
}
