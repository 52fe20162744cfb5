use wattle::kernels::moe_scores::{MoeScores, MoeScoresParams};
use wattle::model::config::{Routing, Score, Topk};
use wattle::reference::moe::Router;

use crate::harness::{Run, span};
use crate::moe_route::{logits, tolerances};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::transposed::transposed;

#[test]
fn scores_are_the_softmax_over_experts() {
    for variant in selected::<MoeScores>() {
        let count = variant.experts as usize;
        for (seed, rows) in [1, 9, 3].into_iter().enumerate() {
            let logits = logits(rows, count, seed as u64);
            let stride = count + seed;
            let mut strided = vec![f32::NAN; rows * stride];
            for (to, from) in strided.chunks_mut(stride).zip(logits.chunks(count)) {
                to[..count].copy_from_slice(from);
            }
            let all: Vec<u32> = (0..rows).flat_map(|_| 0..count as u32).collect();
            let router = Router::new(Routing::Topk(Topk::of(Score::Softmax)), count, count);
            let expected = router.weigh(&logits, &all);
            let tolerances = tolerances(&logits, &all, &expected, rows, Score::Softmax);
            let params = MoeScoresParams { logit_stride: stride as u32 };
            let run = Run::new(variant, params, span(5, rows), format_args!("seed {seed}"));
            let found = run.with("logits", &strided).out("scores", rows * count).go();
            let (expected, tolerances) = (transposed(&expected, count), transposed(&tolerances, count));
            found.close("scores", &expected, Tolerance::Each(&tolerances));
        }
    }
}
