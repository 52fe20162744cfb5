use wattle::model::config::{GrantOrder, Routing};
use wattle::model::router_metrics::{Noise, RouterMetrics, Routes};
use wattle::reference::expert_plan::{NONE, plan_within, queue};
use wattle::reference::moe::Router;

use crate::support::compare::{Tolerance, assert_close};
use crate::support::golden::Golden;

/// The losses of the golden files, and what their capacities drop.
#[test]
fn losses_and_drops_are_golden() {
    for file in ["moe_capacity_k1_cf1p0", "moe_capacity_k2_cf0p5", "moe_capacity_k2_cf1p0"] {
        let golden = Golden::op(file);
        let &[rows, k] = &golden.shape("topk_idx")[..] else { panic!("{file}: topk_idx is [T,k]") };
        let (logits, experts) = (golden.floats("logits"), golden.indices("topk_idx"));
        let (weights, count) = (golden.floats("weight"), golden.shape("logits")[1]);
        let order = queue(GrantOrder::ChoiceMajor, &weights, k);
        let plan = plan_within(&experts, &order, [count, k], golden.indices("capacity")[0]);
        let kept: Vec<bool> = plan.slots.iter().map(|slot| *slot != NONE).collect();
        let routes = Routes {
            logits: &logits,
            experts: &experts,
            weights: &weights,
            kept: &kept,
            count,
            choices: k,
            by_experts: false,
            noise: None,
        };
        let found = RouterMetrics::of(routes).unwrap();
        let of_logits = found.logits.unwrap();
        let losses = [of_logits.load_balance as f32, of_logits.z as f32];
        let expected = ["aux_load_balance_loss", "z_loss"].map(|name| golden.float(name));
        assert_close(file, &losses, &expected, Tolerance::Mixed(0.0, 2e-6));
        assert_eq!(found.dropped as i64, golden.integer("choice.dropped"), "{file}");
        let counts: Vec<u64> = plan.counts.iter().map(|n| u64::from(*n)).collect();
        assert_eq!(found.tokens_per_expert, counts, "{file}");
        assert_eq!(found.experts_per_token.iter().sum::<u64>(), rows as u64, "{file}");
        let computed: u64 =
            found.experts_per_token.iter().enumerate().map(|(n, tokens)| n as u64 * tokens).sum();
        assert_eq!(computed + found.dropped, (rows * k) as u64, "{file}");
    }
}

#[test]
fn importance_and_smooth_load_are_golden() {
    let golden = Golden::op("moe_noisy_topk");
    let (noisy, count) = (golden.floats("noisy_logits"), golden.shape("noisy_logits")[1]);
    let (clean, deviations) = (golden.floats("clean_logits"), golden.floats("noise_std"));
    for k in [1, 2, 4] {
        let routes = Router::new(Routing::topk_softmax(), count, k).route(&noisy);
        let (experts, weights) = (&routes.experts[..], &routes.weights[..]);
        let found = RouterMetrics::of(Routes {
            logits: &clean,
            experts,
            weights,
            kept: &[],
            count,
            choices: k,
            by_experts: false,
            noise: Some(Noise { logits: &noisy, deviations: &deviations }),
        })
        .unwrap();
        let expected = golden.floats(&format!("importance_cv2.{k}"));
        assert_close("importance", &[found.importance_cv2 as f32], &expected, Tolerance::Mixed(0.0, 1e-5));
        let load = found.smooth_load.unwrap();
        let tokens: Vec<f32> = load.tokens_per_expert.iter().map(|tokens| *tokens as f32).collect();
        assert_close("load", &tokens, &golden.floats(&format!("load.{k}")), Tolerance::Mixed(0.0, 1e-5));
        let expected = golden.floats(&format!("load_cv2.{k}"));
        assert_close("variation", &[load.cv2 as f32], &expected, Tolerance::Mixed(0.0, 1e-5));
    }
}

/// Even use costs 1, one expert for all as many as there are.
#[test]
fn the_ends_of_the_scales() {
    let even = RouterMetrics::of(Routes {
        logits: &[0.0; 16],
        experts: &[0, 1, 2, 3],
        weights: &[0.25; 4],
        kept: &[],
        count: 4,
        choices: 1,
        by_experts: false,
        noise: None,
    })
    .unwrap();
    let logits = even.logits.unwrap();
    assert!(
        (logits.load_balance - 1.0).abs() < 1e-12 && (logits.entropy - 4f64.ln()).abs() < 1e-12,
        "{logits:?}"
    );
    assert_eq!((even.load_cv2, even.max_over_mean, even.dropped), (0.0, 1.0, 0));
    let one = RouterMetrics::of(Routes {
        logits: &[],
        experts: &[2, 2, 2, NONE],
        weights: &[1.0, 1.0, 1.0, 0.0],
        kept: &[true, true, false, false],
        count: 4,
        choices: 1,
        by_experts: false,
        noise: None,
    })
    .unwrap();
    assert_eq!((one.tokens_per_expert, one.dropped, one.logits), (vec![0, 0, 2, 0], 1, None));
    assert_eq!((one.max_over_mean, one.load_cv2, one.experts_per_token), (4.0, 3.0, vec![2, 2]));
}

/// NaN is counted and counts as minus infinity; infinities leave finite losses.
#[test]
fn bad_logits_leave_finite_losses() {
    let metrics = |logits: &[f32]| {
        let experts = vec![0; logits.len() / 2];
        let weights = vec![1.0; experts.len()];
        let routes = Routes { experts: &experts, weights: &weights, choices: 1, count: 2, ..Routes::NONE };
        let found = RouterMetrics::of(Routes { logits, ..routes }).unwrap();
        (found.nan_logits, found.logits.unwrap())
    };
    let (nan, (inf, low)) = (f32::NAN, (f32::INFINITY, f32::NEG_INFINITY));
    let (count, of) = metrics(&[1.0, nan, nan, nan, 2.0, low]);
    assert_eq!((count, of.entropy), (3, 0.0));
    assert!((of.z - 2.5).abs() < 1e-12, "the token without a number is left out: {of:?}");
    let (count, of) = metrics(&[inf, inf, 0.0, inf]);
    assert_eq!(count, 0);
    // Of two that are as large, and of one alone.
    assert!((of.entropy - 2f64.ln() / 2.0).abs() < 1e-12, "{of:?}");
    assert!(of.z.is_finite() && of.load_balance.is_finite(), "{of:?}");
    assert_eq!(metrics(&[0.0; 2]).0, 0);
}

#[test]
fn tables_of_other_tokens_are_refused() {
    let routes = Routes { experts: &[0, 1, 2, 3], weights: &[0.5; 4], choices: 2, count: 4, ..Routes::NONE };
    assert!(RouterMetrics::of(Routes { logits: &[0.0; 8], kept: &[true; 4], ..routes }).is_ok());
    for wrong in [
        Routes { experts: &[0, 1, 2], weights: &[0.5; 3], ..routes },
        Routes { weights: &[0.5; 3], ..routes },
        Routes { choices: 0, ..routes },
        Routes { logits: &[0.0; 7], ..routes },
        Routes { logits: &[0.0; 8], count: 0, ..routes },
        Routes { kept: &[true; 2], ..routes },
    ] {
        assert!(RouterMetrics::of(wrong).is_err(), "{wrong:?}");
    }
}
