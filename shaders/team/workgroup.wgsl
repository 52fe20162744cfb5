// The workgroup is the team. Needs: block_reduce (block/*). Call from uniform control flow.
fn team_sum(value: Block, lane: u32) -> Block {
    return block_reduce(value, lane);
}
