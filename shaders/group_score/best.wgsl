// A group of experts is worth its best one (arXiv 2405.04434). Needs: remaining.
fn group_score(first: u32, size: u32) -> f32 {
    var best = remaining[first];
    for (var i = 1u; i < size; i += 1u) {
        best = max(best, remaining[first + i]);
    }
    return best;
}
