// A team of one lane has its sum.
fn team_lane(lane: u32) -> u32 {
    return 0u;
}

fn team_sum(value: Block, lane: u32) -> Block {
    return value;
}
