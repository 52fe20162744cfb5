// A group of experts is worth the sum of its two best ones (arXiv 2412.19437). Needs: remaining.
fn group_score(first: u32, size: u32) -> f32 {
    var best = max(remaining[first], remaining[first + 1u]);
    var second = min(remaining[first], remaining[first + 1u]);
    for (var i = 2u; i < size; i += 1u) {
        let key = remaining[first + i];
        second = max(second, min(best, key));
        best = max(best, key);
    }
    return best + second;
}
