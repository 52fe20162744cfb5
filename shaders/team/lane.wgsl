// A team of one lane has its sum.
fn team_sum(value: Block, lane: u32) -> Block {
    return value;
}
