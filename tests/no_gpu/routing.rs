//! Routings other than the best few of each token.

use wattle::fragments::TokenIds;
use wattle::gpu::Capabilities;
use wattle::kernel::Launch;
use wattle::kernels::moe_lookup::{MoeLookup, MoeLookupParams};
use wattle::model::config::{
    Activation, Capacity, ExpertGroups, Experts, FeedForward, GrantOrder, GroupScore, Hierarchical, Later,
    ModelConfig, Routing, Score, Share, Topk, WeightOn,
};
use wattle::model::forward::Sampling;
use wattle::model::layout::Layout;
use wattle::model::session::SessionPlan;
use wattle::model::{SessionOptions, family};
use wattle::reference::auction::auction;
use wattle::reference::expert_choice::{capacity, choose_tokens};
use wattle::reference::expert_plan::{NONE, combine, plan};
use wattle::reference::lookup::{looked_up, random_experts};
use wattle::reference::moe::{Router, Training, with_noise};
use wattle::reference::sample::normal_random;
use wattle::reference::sinkhorn::column_factors;
use wattle::schedule::{Schedule, Site};

use crate::assignment::best_score;
use crate::moe::expert_outputs;
use crate::shapes::{one_layer, plan_trained, routings, weights};
use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;
use crate::support::random::Random;

/// Golden files that are read here.
pub const FILES: &[&str] = &["moe_expert_choice_cf1", "moe_expert_choice_cf2", "moe_noisy_topk"];

#[test]
fn experts_choose_their_tokens() {
    for (file, factor) in FILES.iter().zip([1.0, 2.0]) {
        let golden = Golden::op(file);
        let &[rows, count] = &golden.shape("logits")[..] else { panic!("{file}: logits are [T,E]") };
        let taken = capacity(factor, rows as u32, count as u32);
        assert_eq!(vec![taken], golden.indices("capacity"), "{file}");
        let tokens = choose_tokens(&golden.floats("probs"), count, taken as usize);
        // The file has them best first.
        let mut expected = golden.indices("token_idx");
        expected.chunks_mut(taken as usize).for_each(<[u32]>::sort_unstable);
        assert_same(file, &tokens, &expected);
        let router = Router::new(Routing::ExpertChoice { factor }, count, 1);
        let routes = router.route(&golden.floats("logits"));
        let per_token =
            routes.experts.chunks(count).map(|of| of.iter().filter(|e| **e != NONE).count() as u32);
        assert_same(file, &per_token.collect::<Vec<_>>(), &golden.indices("experts_per_token"));
        let plan = plan_of(&routes.experts, count);
        assert!(plan.counts.iter().all(|count| *count == taken), "{file}: {:?}", plan.counts);
        let d = golden.shape("x")[1];
        let found = combine(&expert_outputs(&golden, &plan), &plan.slots, &routes.weights, count, d);
        assert_close(file, &found, &golden.floats("y"), Tolerance::OfLargest(1e-6));
    }
}

/// A plan of slots of which some have no expert.
fn plan_of(experts: &[u32], count: usize) -> wattle::reference::expert_plan::Plan {
    plan(experts, count, count)
}

#[test]
fn a_token_alone_has_every_expert() {
    let routes = Router::new(Routing::ExpertChoice { factor: 0.1 }, 5, 1).route(&[0.0, 3.0, 1.0, 2.0, -1.0]);
    assert_eq!(routes.experts, [0, 1, 2, 3, 4]);
}

#[test]
fn noisy_gates_are_golden() {
    let golden = Golden::op("moe_noisy_topk");
    let noisy = golden.floats("noisy_logits");
    let &[rows, count] = &golden.shape("noisy_logits")[..] else { panic!("noisy_logits are [T,E]") };
    for k in [1, 2, 4] {
        let routes = Router::new(Routing::topk_softmax(), count, k).route(&noisy);
        assert_same("experts", &routes.experts, &golden.indices(&format!("topk_idx.{k}")));
        let mut gates = vec![0.0; rows * count];
        for (slot, (expert, weight)) in routes.experts.iter().zip(&routes.weights).enumerate() {
            gates[slot / k * count + *expert as usize] = *weight;
        }
        assert_close("gates", &gates, &golden.floats(&format!("gates.{k}")), Tolerance::Mixed(2e-6, 2e-6));
    }
}

/// The spread of the noise, of which the file has both the outputs and the softplus.
#[test]
fn noise_is_spread_as_the_second_matrix_says() {
    let golden = Golden::op("moe_noisy_topk");
    let (x, weight, d) = (golden.floats("x"), golden.floats("noise_weight"), golden.shape("x")[1]);
    let spreads = wattle::reference::matmul::matmul(&x, &weight, None, d);
    let clean = golden.floats("clean_logits");
    let positions: Vec<u32> = (0..golden.shape("x")[0] as u32).collect();
    let training = Training { seed: 5, positions: &positions };
    let noisy = with_noise(&clean, &spreads, 8, training);
    let expected: Vec<f32> = clean
        .iter()
        .zip(golden.floats("noise_std"))
        .enumerate()
        .map(|(n, (clean, spread))| {
            (f64::from(*clean) + normal_random(5, (n / 8) as u32, (n % 8) as u32) * f64::from(spread)) as f32
        })
        .collect();
    assert_close("noisy logits", &noisy, &expected, Tolerance::Mixed(2e-6, 2e-6));
}

/// The quantile of a uniform number, against the error function.
#[test]
fn normal_numbers_are_normal() {
    let (mut sum, mut squares, n) = (0.0, 0.0, 40_000);
    for index in 0..n {
        let normal = normal_random(9, 3, index);
        let uniform = wattle::reference::sample::uniform_random(9, 3, index);
        let found = 0.5 * libm::erfc(-normal / std::f64::consts::SQRT_2);
        assert!(
            (found - uniform).abs() <= 4e-7,
            "{index}: {normal} is the quantile of {found}, not {uniform}"
        );
        (sum, squares) = (sum + normal, squares + normal * normal);
    }
    let (mean, variance) = (sum / f64::from(n), squares / f64::from(n));
    assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "mean {mean}, variance {variance}");
}

#[test]
fn later_choices_need_a_share_of_the_first_weight() {
    let topk = Topk { later: Later::AtLeast { share: 0.5 }, ..Topk::of(Score::Softmax) };
    let routes = Router::new(Routing::Topk(topk), 3, 2).route(&[2.0, 1.5, 0.0, 2.0, 1.0, 0.0]);
    // e^-0.5 is more than a half, e^-1 is less.
    assert_eq!(routes.experts, [0, 1, 0, NONE]);
    assert!(routes.weights[1] > 0.0 && routes.weights[3] == 0.0, "{:?}", routes.weights);
}

/// With a chance of the weight over the share of the first one's.
#[test]
fn sampled_choices_come_as_often_as_they_should() {
    let topk = Topk { later: Later::Sampled { share: 0.8 }, ..Topk::of(Score::Softmax) };
    let positions: Vec<u32> = (0..4000).collect();
    let training = Some(Training { seed: 3, positions: &positions });
    let logits = [1.0f32, 0.0].repeat(positions.len());
    let routes = Router { training, ..Router::new(Routing::Topk(topk), 2, 2) }.route(&logits);
    let used = routes.experts.iter().skip(1).step_by(2).filter(|expert| **expert != NONE).count();
    let expected = (-1f64).exp() / 0.8;
    let found = used as f64 / positions.len() as f64;
    assert!((found - expected).abs() < 0.03, "{found}, not {expected}");
}

/// What decides between groups, and what the other one would have brought.
#[test]
fn the_next_group_is_what_it_is_without_the_last() {
    let logits = [3.0, 0.0, 2.5, 2.0, 1.0, 0.9, -1.0, -2.0];
    let of = |score, limit| {
        let groups = Some(ExpertGroups { count: 4, limit, score });
        let routing = Routing::Topk(Topk { groups, ..Topk::of(Score::Softmax) });
        Router::new(routing, 8, 2).next_groups(&logits)
    };
    // By their best, (3, 0) comes before (2.5, 2).
    let [next] = &of(GroupScore::Best, 1)[..] else { panic!("one token") };
    assert_eq!((next.gap, &next.experts[..]), (0.5, &[2, 3][..]));
    let [next] = &of(GroupScore::Best, 2)[..] else { panic!("one token") };
    assert_eq!((next.gap, &next.experts[..]), (1.5, &[0, 4][..]));
    assert!(of(GroupScore::Best, 4).is_empty(), "nothing is left out");
    // By two, scores are added up: of logits, the second group would have the larger sum.
    let [next] = &of(GroupScore::TwoBest, 1)[..] else { panic!("one token") };
    let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    let score = |e: usize| f64::from(logits[e]).exp() / total;
    let (first, second) = (score(0) + score(1), score(2) + score(3));
    assert!((f64::from(next.gap) - (first - second)).abs() < 1e-6, "{next:?}");
    assert_eq!(next.experts, [2, 3]);
}

#[test]
fn groups_are_chosen_before_their_experts() {
    let rule = Hierarchical { groups: 3, top_groups: 2 };
    let router =
        Router { group_logits: Some(&[0.0, 1.0, 2.0]), ..Router::new(Routing::Hierarchical(rule), 6, 2) };
    // The first group has the largest logit of an expert, and is not chosen.
    let routes = router.route(&[9.0, 8.0, 0.0, 1.0, 3.0, 2.0]);
    assert_eq!(routes.experts, [4, 3]);
    let e = 1f64.exp();
    let expected = [e / (e + 1.0), 1.0 / (e + 1.0)].map(|weight| weight as f32);
    assert_close("weights", &routes.weights, &expected, Tolerance::Mixed(0.0, 1e-6));
    let routes = Router { top_k: 4, ..router }.route(&[9.0, 8.0, 0.0, 1.0, 3.0, 2.0]);
    assert_eq!(routes.experts, [4, 5, 3, 2]);
    let sums: f32 = routes.weights.iter().sum();
    assert_close("their sum", &[sums], &[1.0], Tolerance::Mixed(0.0, 1e-6));
}

/// Rows and columns of the plan have the sums that it is named for.
#[test]
fn sinkhorn_balances_rows_and_columns() {
    let (rows, experts) = (40, 5);
    let logits: Vec<f32> = Random::new(1).gaussian(rows * experts).iter().map(|x| 3.0 * x).collect();
    let columns = column_factors(&logits, experts, 300);
    let entry = |t: usize, e: usize| (f64::from(logits[t * experts + e]) + columns[e]).exp();
    let mut of_columns = vec![0.0; experts];
    for t in 0..rows {
        let sum: f64 = (0..experts).map(|e| entry(t, e)).sum();
        (0..experts).for_each(|e| of_columns[e] += entry(t, e) / sum);
    }
    let even = rows as f64 / experts as f64;
    assert!(of_columns.iter().all(|sum| (sum - even).abs() < 1e-6 * even), "{of_columns:?}");
    assert_eq!(column_factors(&logits, experts, 0), vec![0.0; experts]);
}

/// Every pair within `n epsilon` of the best assignment, up to 256 tokens.
#[test]
fn auctions_are_all_but_the_best() {
    const EPSILON: f32 = 1e-3;
    let mut worst: f64 = 0.0;
    for (seed, (rows, experts)) in
        [(8, 2), (30, 5), (31, 5), (64, 64), (256, 4), (256, 16)].into_iter().enumerate()
    {
        let logits = Random::new(seed as u64).gaussian(rows * experts);
        let chosen = auction(&logits, experts, EPSILON, u32::MAX);
        let share = rows.div_ceil(experts);
        for expert in 0..experts as u32 {
            assert!(chosen.iter().filter(|c| **c == expert).count() <= share, "{rows} x {experts}");
        }
        let score: f64 =
            chosen.iter().enumerate().map(|(t, e)| f64::from(logits[t * experts + *e as usize])).sum();
        let below = best_score(&logits, rows, experts, share) - score;
        worst = worst.max(below / (share * experts) as f64);
        assert!(
            below <= (share * experts) as f64 * f64::from(EPSILON) + 1e-4,
            "{rows} x {experts}: {below} below"
        );
    }
    println!("auctions: at most {worst:.1e} a token below the best, epsilon {EPSILON}");
}

#[test]
fn tables_and_chance_have_experts() {
    assert_eq!(looked_up(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[2, 0], 2), [4, 5, 0, 1]);
    let positions: Vec<u32> = (0..3000).collect();
    let experts = random_experts(7, &positions, 6, 2);
    for pair in experts.chunks(2) {
        assert!(pair[0] < 6 && pair[1] == (pair[0] + 1) % 6, "{pair:?}");
    }
    for expert in 0..6 {
        let count = experts.iter().step_by(2).filter(|e| **e == expert).count();
        assert!((420..=580).contains(&count), "expert {expert}: {count} of 3000");
    }
    assert_ne!(experts, random_experts(8, &positions, 6, 2));
}

/// The error names the key; what fits is the same after JSON.
#[test]
fn descriptions_that_do_not_fit_are_refused() {
    let network = FeedForward::gated(8, Activation::Silu);
    let of = |routing, k| Experts::new(8, k, routing, network);
    let softmax = Topk::of(Score::Softmax);
    let topk = |topk| of(Routing::Topk(topk), 2);
    let limited = |factor| {
        let capacity = Capacity { factor, share: Share::PerChoice, order: GrantOrder::TokenMajor };
        Experts { capacity: Some(capacity), ..topk(softmax) }
    };
    let nested = |groups, top_groups, k| of(Routing::Hierarchical(Hierarchical { groups, top_groups }), k);
    let at_least = |share| Topk { later: Later::AtLeast { share }, ..softmax };
    let groups = ExpertGroups { count: 1024, limit: 1024, score: GroupScore::Best };
    let many = Experts { count: 1024, ..topk(Topk { groups: Some(groups), ..softmax }) };
    for (experts, key) in [
        (of(Routing::softmax_topk(true), 9), "top_k"),
        (of(Routing::softmax_topk(true), 0), "top_k"),
        (limited(0.0), "capacity.factor"),
        (limited(-1.0), "capacity.factor"),
        (limited(f32::NAN), "capacity.factor"),
        (
            Experts { capacity: limited(1.0).capacity, ..of(Routing::ExpertChoice { factor: 1.0 }, 1) },
            "capacity",
        ),
        (of(Routing::ExpertChoice { factor: 1.0 }, 2), "top_k"),
        (of(Routing::ExpertChoice { factor: 0.0 }, 1), "expert_choice.factor"),
        (of(Routing::Sinkhorn { iterations: 8 }, 2), "top_k"),
        (of(Routing::Base { epsilon: 0.0 }, 1), "base.epsilon"),
        (of(Routing::Task { tasks: 0 }, 1), "task.tasks"),
        (of(Routing::Task { tasks: u32::MAX }, 2), "task.tasks"),
        (nested(3, 1, 2), "hierarchical.groups"),
        (nested(4, 5, 5), "hierarchical.top_groups"),
        (nested(4, 2, 3), "hierarchical.top_groups"),
        (nested(4, 1, 3), "hierarchical.top_groups"),
        (topk(at_least(0.0)), "later.share"),
        (topk(Topk { expert_scale: true, ..at_least(0.5) }), "expert_scale"),
        (topk(Topk { scale: -1.0, ..at_least(0.5) }), "scale"),
        (topk(Topk { weight_on: WeightOn::Input, ..at_least(0.5) }), "weight_on"),
        (Experts { router_bias: true, ..of(Routing::Hash, 1) }, "router_bias"),
        (many, "routing"),
    ] {
        let error = one_layer(experts).validate().expect_err(&format!("{experts:?}")).to_string();
        assert!(error.contains(key), "{key}: {error}");
    }
    for (name, config) in routings() {
        config.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
        let json = serde_json::to_string(&config).unwrap();
        let (read, _) = family::parse(&json).unwrap_or_else(|error| panic!("{name}: {error}\n{json}"));
        assert_eq!(read, config, "{name}");
    }
}

/// A task that the model does not have, or none where it needs one.
#[test]
fn sessions_need_a_task_where_experts_go_by_it() {
    let network = FeedForward::gated(8, Activation::Silu);
    let config = one_layer(Experts::new(8, 2, Routing::Task { tasks: 3 }, network));
    let device = Capabilities::webgpu();
    let layout = Layout::new(&config, &weights("f32"), &device).unwrap();
    let plan = |task| {
        let options = SessionOptions { task, ..SessionOptions::new(64, Sampling::GREEDY) };
        SessionPlan::new(&config, &layout, &device, &options).map(|_| ())
    };
    for task in [None, Some(3)] {
        let error = plan(task).expect_err("no such task").to_string();
        assert!(error.contains("below 3"), "{task:?}: {error}");
    }
    plan(Some(2)).unwrap();
}

/// A CPU leaves loops after so many turns, and says nothing; what would run into that is refused when it is recorded.
#[test]
fn balances_that_a_cpu_cannot_finish_are_refused() {
    let network = FeedForward::gated(8, Activation::Silu);
    let config = one_layer(Experts::new(8, 1, Routing::Sinkhorn { iterations: 1000 }, network));
    let plan = |is_cpu, training| {
        let device = Capabilities { is_cpu, ..Capabilities::webgpu() };
        let layout = Layout::new(&config, &weights("f32"), &device).unwrap();
        let options = SessionOptions { training, ..SessionOptions::new(512, Sampling::GREEDY) };
        SessionPlan::new(&config, &layout, &device, &options).map(|_| ())
    };
    let error = plan(true, Some(1)).expect_err("too many turns").to_string();
    assert!(error.contains("moe_sinkhorn") && error.contains("1000 iterations"), "{error}");
    plan(false, Some(1)).unwrap();
    plan(true, None).unwrap();
}

/// Elsewhere its rounds are no reason for shorter chunks, among whose tokens experts would be shared out otherwise.
#[test]
fn balances_leave_chunks_as_they_are() {
    let network = FeedForward::gated(8, Activation::Silu);
    for experts in [8, 64] {
        let config = one_layer(Experts::new(experts, 1, Routing::Base { epsilon: 1e-3 }, network));
        let blocks = vec![config.blocks[0].clone(); 4];
        let config = ModelConfig { blocks, ..config };
        let plan = plan_trained(&config, &Capabilities::webgpu(), Some(1));
        assert_eq!(plan.chunk_rows, config.context_length, "{experts} experts");
    }
}

/// What a hash is of, and what it says.
#[test]
fn hashes_need_token_ids_and_a_table() {
    let params = MoeLookupParams { experts: 8, choices: 2, seed: 0 };
    let launch = Launch { variant: MoeLookup::Token(TokenIds::ByRow), params }.shared();
    let site = Site { sublayer: Some((0, 0)), what: "route" };
    let without = |missing: &str| {
        let mut schedule = Schedule::new(3);
        let names = ["token_ids", "expert_table", "expert_of_slot", "weight_of_slot"];
        let there = names.into_iter().filter(|name| *name != missing);
        let bound: Vec<_> = there.map(|name| (name, schedule.named(name, 64))).collect();
        schedule.dispatch(site, launch.clone(), &bound)
    };
    for missing in ["token_ids", "expert_table"] {
        let error = without(missing).expect_err(missing).to_string();
        assert_eq!(error, format!("kernel 'moe_lookup', {missing}: expected a tensor, found none"));
    }
    without("nothing").unwrap();
}

/// A key that is misspelt is no default.
#[test]
fn unknown_keys_of_routings_are_refused() {
    for (json, key) in [
        (r#"{"sinkhorn": {"iteration": 20}}"#, "iteration"),
        (r#"{"base": {"eps": 1e-6}}"#, "eps"),
        (r#"{"topk": {"score": "softmax", "later": {"at_least": {"share": 0.2, "tau": 1}}}}"#, "tau"),
        (r#"{"expert_choices": {"factor": 1.0}}"#, "expert_choices"),
    ] {
        let error = serde_json::from_str::<Routing>(json).expect_err(json).to_string();
        assert!(error.contains(key), "{json}: {error}");
    }
    assert_eq!(
        serde_json::from_str::<Routing>(r#"{"sinkhorn": {}}"#).unwrap(),
        Routing::Sinkhorn { iterations: 8 }
    );
    assert_eq!(serde_json::from_str::<Routing>(r#""hash""#).unwrap(), Routing::Hash);
}
