// As share/none_i8 where all lanes want the same: each reads a block of one of the rows, and hands it round its subgroup,
// which has at least four lanes. Needs: InputBlock, input_block (linear/input_blocks), entry/subgroup.
// Call from uniform control flow.
struct Blocks4 { a: InputBlock, b: InputBlock, c: InputBlock, d: InputBlock }

fn rows4_blocks(rows: vec4<u32>, step: u32) -> Blocks4 {
    let mine = input_block(rows[subgroup_lane % 4u], step);
    let scale = vec2<f32>(mine.scale, mine.sum);
    let scales = mat4x2<f32>(
        subgroupBroadcast(scale, 0u),
        subgroupBroadcast(scale, 1u),
        subgroupBroadcast(scale, 2u),
        subgroupBroadcast(scale, 3u),
    );
    return Blocks4(
        InputBlock(subgroupBroadcast(mine.low, 0u), subgroupBroadcast(mine.high, 0u), scales[0].x, scales[0].y),
        InputBlock(subgroupBroadcast(mine.low, 1u), subgroupBroadcast(mine.high, 1u), scales[1].x, scales[1].y),
        InputBlock(subgroupBroadcast(mine.low, 2u), subgroupBroadcast(mine.high, 2u), scales[2].x, scales[2].y),
        InputBlock(subgroupBroadcast(mine.low, 3u), subgroupBroadcast(mine.high, 3u), scales[3].x, scales[3].y),
    );
}
