// Groups of neighbours are chosen by logits of their own, and experts within each of them (arXiv 1701.06538, appendix B).
// Call from uniform control flow.
// Needs: second_at, better, workgroup_argmax (reduce/argmax), LOWEST, TAKEN, WORKGROUP_SIZE.
// Constants: EXPERTS, GROUPS, TOP_GROUPS.
const GROUP_SIZE: u32 = EXPERTS / GROUPS;

var<workgroup> group_logits: array<f32, GROUPS>;
var<workgroup> chosen_group: array<u32, TOP_GROUPS>;
var<workgroup> chosen_logit: array<f32, TOP_GROUPS>;

fn rule_out(row: u32, lane: u32) {
    for (var g = lane; g < GROUPS; g += WORKGROUP_SIZE) {
        group_logits[g] = second_at(row, g);
    }
    workgroupBarrier();
    for (var i = 0u; i < TOP_GROUPS; i += 1u) {
        var best = Candidate(TAKEN, GROUPS);
        for (var g = lane; g < GROUPS; g += WORKGROUP_SIZE) {
            best = better(best, Candidate(group_logits[g], g));
        }
        best = workgroup_argmax(best, lane);
        if lane == 0u {
            chosen_group[i] = best.index;
            chosen_logit[i] = best.value;
            group_logits[best.index] = TAKEN;
        }
        workgroupBarrier();
    }
}

fn candidates(choice: u32) -> vec2<u32> {
    let first = chosen_group[choice / (params.choices / TOP_GROUPS)] * GROUP_SIZE;
    return vec2<u32>(first, first + GROUP_SIZE);
}

fn group_weight(index: u32) -> f32 {
    var total = 0.0;
    for (var i = 0u; i < TOP_GROUPS; i += 1u) {
        total += group_term(i);
    }
    return group_term(index) / max(total, 1.0);
}

fn group_term(index: u32) -> f32 {
    let logit = chosen_logit[index];
    return select(exp(max(logit - chosen_logit[0], -80.0)), 0.0, logit == LOWEST);
}
