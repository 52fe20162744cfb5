// Matrix-vector product: y[r, n] = epilogue(sum_k w[n, k] * norm(x[r, k])), for few rows r.
// A team of lanes, one lane or the workgroup, computes OUTPUTS neighbouring outputs of a block of rows. Its lanes stride
// over the inputs, so many at a time that a weight is decoded once for all rows of the block.
// Needs: Block, Sites, has_block, block_sites, block_prepare, block_add, block_store (block/*), STEP_INPUTS, step_product (step/*),
// team_lane, team_sum (team/*).
// Constants: WORKGROUP_SIZE, TEAM, OUTPUTS.
const TEAMS: u32 = WORKGROUP_SIZE / TEAM;
const FOURS: u32 = OUTPUTS / 4u;
const_assert OUTPUTS % 4u == 0u && (TEAM == 1u || TEAM == WORKGROUP_SIZE);

fn run(workgroup: u32, lane: u32) {
    let tiles = (params.out_features + TEAMS * OUTPUTS - 1u) / (TEAMS * OUTPUTS);
    let block = workgroup / tiles;
    if !has_block(block) {
        return;
    }
    let sites = block_sites(block);
    let n = ((workgroup % tiles) * TEAMS + lane / TEAM) * OUTPUTS;
    let w = sites.expert * params.out_features;
    // The last tile may be short: it reads the last output's weights again, and drops the surplus.
    let last = params.out_features - 1u;

    block_prepare(sites, lane);
    var acc: array<Block, FOURS>;
    for (var step = team_lane(lane); STEP_INPUTS * step < params.in_features; step += TEAM) {
        for (var four = 0u; four < FOURS; four += 1u) {
            let first = n + 4u * four;
            let outputs = w + min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(last));
            acc[four] = block_add(acc[four], step_product(sites, outputs, step));
        }
    }
    for (var four = 0u; four < FOURS; four += 1u) {
        let sum = team_sum(acc[four], lane);
        if team_lane(lane) == 0u && n + 4u * four <= last {
            block_store(sites, n + 4u * four, sum);
        }
    }
}
