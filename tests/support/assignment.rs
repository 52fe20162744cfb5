//! The best balanced assignment, by a method that has nothing in common with an auction.

/// The largest sum of `logits` `[rows, experts]` over assignments of at most `share` rows to each expert, by successive
/// shortest paths (Bellman and Ford over rows and experts; Ahuja, Magnanti and Orlin, "Network Flows", chapter 9).
pub fn best_score(logits: &[f32], rows: usize, experts: usize, share: usize) -> f64 {
    let value = |row: usize, expert: usize| f64::from(logits[row * experts + expert]);
    let mut expert_of: Vec<Option<usize>> = vec![None; rows];
    let mut held = vec![0; experts];
    for new in 0..rows {
        // Gain of the best chain that ends by putting a row into each expert: who moves there last.
        let mut gain: Vec<f64> = (0..experts).map(|e| value(new, e)).collect();
        let mut mover: Vec<usize> = vec![new; experts];
        loop {
            let mut changed = false;
            for (row, from) in expert_of.iter().enumerate().take(new) {
                let Some(from) = *from else { continue };
                for to in 0..experts {
                    let moved = gain[from] - value(row, from) + value(row, to);
                    if moved > gain[to] + 1e-9 {
                        (gain[to], mover[to]) = (moved, row);
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
        let free = (0..experts).filter(|e| held[*e] < share);
        let best = free.max_by(|a, b| gain[*a].total_cmp(&gain[*b]));
        let mut at =
            best.unwrap_or_else(|| panic!("{share} rows of each of {experts} are too few for {rows}"));
        held[at] += 1;
        loop {
            let row = mover[at];
            let before = expert_of[row].replace(at);
            match before {
                Some(before) => at = before,
                None => break,
            }
        }
    }
    expert_of.iter().enumerate().filter_map(|(row, e)| e.map(|e| value(row, e))).sum()
}
