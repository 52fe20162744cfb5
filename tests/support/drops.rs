//! Choices that are dropped beyond a capacity: golden files, and how many a router that knows nothing drops.

use wattle::model::config::{Capacity, GrantOrder, Routing, Score, Share, Topk};
use wattle::reference::moe::{Router, Routes};

use super::random::Random;

/// The files with the choices of each token and the factor.
pub const GOLDEN: [(&str, usize, f32); 5] = [
    ("moe_capacity_k1_cf1p0", 1, 1.0),
    ("moe_capacity_k1_cf1p25", 1, 1.25),
    ("moe_capacity_k2_cf0p5", 2, 0.5),
    ("moe_capacity_k2_cf1p0", 2, 1.0),
    ("moe_capacity_all_to_one", 1, 1.0),
];

/// The orders of the files, with the prefix of their tensors. Not every file has both.
pub const ORDERS: [(GrantOrder, &str); 2] =
    [(GrantOrder::ChoiceMajor, "choice"), (GrantOrder::TokenMajor, "token")];

pub fn per_choice(factor: f32, order: GrantOrder) -> Capacity {
    Capacity { factor, share: Share::PerChoice, order }
}

/// Routers whose choices are independent and uniform: tokens, experts, choices, factor, and the share of slots that is dropped,
/// in percent: tails of the binomial distribution.
pub const UNIFORM: [(usize, usize, usize, f32, f64); 6] = [
    (1024, 32, 1, 1.0, 6.92),
    (1024, 32, 1, 1.25, 0.68),
    (4096, 64, 2, 1.0, 3.47),
    (4096, 64, 2, 1.25, 0.008),
    (512, 64, 2, 1.0, 9.77),
    (512, 64, 2, 1.25, 2.19),
];

/// Choices of such a router.
pub fn uniform_routes(tokens: usize, experts: usize, k: usize, seed: u64) -> Routes {
    let logits = Random::new(seed).gaussian(tokens * experts);
    Router::new(Routing::Topk(Topk::of(Score::Softmax)), experts, k).route(&logits)
}

/// Asserts that as many slots were dropped: but for a fifth of the share, or for 0.2 %. Of a share that is smaller than that, half:
/// nothing dropped would be within it.
#[track_caller]
pub fn assert_dropped(case: &str, dropped: usize, slots: usize, percent: f64) {
    let found = 100.0 * dropped as f64 / slots as f64;
    let bound = f64::max(0.2 * percent, 0.2).min(percent / 2.0);
    assert!((found - percent).abs() <= bound, "{case}: {found} %, not {percent}");
}
