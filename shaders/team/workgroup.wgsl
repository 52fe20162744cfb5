// The workgroup is the team. Needs: block_reduce (block/*). Call team_sum from uniform control flow.
fn team_lane(lane: u32) -> u32 {
    return lane;
}

fn team_sum(value: Block, lane: u32) -> Block {
    return block_reduce(value, lane);
}
