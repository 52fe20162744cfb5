// Only experts of the GROUP_LIMIT best groups of neighbours can be chosen (arXiv 2405.04434, section 2.2.2), ties to the
// lower group. Call from uniform control flow.
// Needs: group_score (group_score/*), remaining, WORKGROUP_SIZE. Constants: EXPERTS, GROUPS, GROUP_LIMIT.
const GROUP_SIZE: u32 = EXPERTS / GROUPS;

var<workgroup> group_scores: array<f32, GROUPS>;

fn rule_out(row: u32, lane: u32) {
    for (var g = lane; g < GROUPS; g += WORKGROUP_SIZE) {
        group_scores[g] = group_score(g * GROUP_SIZE, GROUP_SIZE);
    }
    workgroupBarrier();
    for (var g = lane; g < GROUPS; g += WORKGROUP_SIZE) {
        let score = group_scores[g];
        var better_groups = 0u;
        for (var other = 0u; other < GROUPS; other += 1u) {
            let other_score = group_scores[other];
            better_groups += u32(other_score > score || (other_score == score && other < g));
        }
        if better_groups >= GROUP_LIMIT {
            for (var i = 0u; i < GROUP_SIZE; i += 1u) {
                remaining[g * GROUP_SIZE + i] = RULED_OUT;
            }
        }
    }
    workgroupBarrier();
}

fn candidates(choice: u32) -> vec2<u32> {
    return vec2<u32>(0u, EXPERTS);
}
