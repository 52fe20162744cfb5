//! Routing, plan, grouped products and combining together, and what their tests share.

use wattle::fragments::{
    Activate, Codec, Epilogue, ExpertWeight, InputNorm, Queue, Reduce, RouteRule, Selection,
};
use wattle::kernels::expert_plan::{ExpertShare, RUN, TILE_ROWS, max_tiles};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matvec::{Matvec, VecRows};
use wattle::kernels::moe_route::{MoeRoute, MoeRouteParams};
use wattle::model::config::{Routing, Score};
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::reference::expert_plan::{NONE, Plan};
use wattle::reference::matmul::matmul;
use wattle::reference::moe::Router;
use wattle::reference::sample::normal_random;

use crate::expert_plan::DevicePlan;
use crate::harness::{Run, span};
use crate::moe_route::tolerances;
use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;
use crate::support::one_hot::Choices;
use crate::support::random::Random;

/// The row tiles of a plan: expert, first place, rows, 0; spread over as many as there may be, empty ones up to `entries`.
pub fn tile_map(plan: &Plan, entries: usize) -> Vec<[u32; 4]> {
    let tiles = max_tiles(plan.slots.len() as u64, plan.counts.len() as u32) as usize;
    let mut map = Vec::new();
    for (expert, places) in plan.offsets.windows(2).enumerate() {
        for first in (places[0]..places[1]).step_by(TILE_ROWS as usize) {
            map.push([expert as u32, first, TILE_ROWS.min(places[1] - first), 0]);
        }
    }
    let used = map.len();
    assert!(used <= tiles, "{used} tiles, at most {tiles} foreseen");
    let tiles = tiles.min(entries).max(used);
    let mut spread = vec![[0; 4]; entries];
    for (n, tile) in map.into_iter().enumerate() {
        spread[n * tiles / used] = tile;
    }
    spread
}

/// The (token, choice) of every place.
pub fn slot_of_place(plan: &Plan) -> Vec<u32> {
    let mut slots = vec![0; plan.tokens.len()];
    for (slot, &place) in plan.slots.iter().enumerate().filter(|(_, place)| **place != NONE) {
        slots[place as usize] = slot as u32;
    }
    slots
}

/// Every order of choices.
pub const QUEUES: [Queue; 3] = [Queue::TokenMajor, Queue::ChoiceMajor, Queue::Priority];

/// Shares of experts: most are dropped, some, and none but of those that all choose.
pub const SHARES: [ExpertShare; 3] = [
    ExpertShare { numerator: 1, denominator: 1024, round: 0 },
    ExpertShare { numerator: 5, denominator: 48, round: 47 },
    ExpertShare { numerator: 1, denominator: 2, round: 1 },
];

/// An order of tokens.
pub fn token_of_rank(rows: usize) -> Vec<u32> {
    let mut tokens: Vec<u32> = (0..rows as u32).collect();
    tokens.sort_by_key(|token| (token * 7919) % 1009);
    tokens
}

/// The slots of choices `[rows, k]` in the order of a queue.
pub fn in_queue(queue: Queue, chosen: &[u32], k: usize) -> Vec<usize> {
    let tokens: Vec<u32> = match queue {
        Queue::TokenMajor => return (0..chosen.len()).collect(),
        Queue::ChoiceMajor => (0..(chosen.len() / k) as u32).collect(),
        Queue::Priority => token_of_rank(chosen.len() / k),
    };
    (0..k).flat_map(|choice| tokens.iter().map(move |token| *token as usize * k + choice)).collect()
}

/// Of every slot, those before it in its run that chose the same expert.
pub fn ranks(experts: &[u32]) -> Vec<u32> {
    let rank = |run: &[u32], n: usize| run[..n].iter().filter(|&&expert| expert == run[n]).count() as u32;
    let of_run = |run: &[u32]| (0..run.len()).map(|n| rank(run, n)).collect::<Vec<_>>();
    experts.chunks(RUN as usize).flat_map(of_run).collect()
}

/// First place of each expert in each run of slots, `[runs, E]`.
pub fn run_offsets(plan: &Plan, experts: &[u32]) -> Vec<u32> {
    let mut next = plan.offsets[..plan.counts.len()].to_vec();
    let mut offsets = Vec::new();
    for run in experts.chunks(RUN as usize) {
        offsets.extend(&next);
        run.iter().filter(|expert| **expert != NONE).for_each(|&expert| next[expert as usize] += 1);
    }
    offsets
}

/// Choices `[rows, k]` of distinct experts: at random, all tokens alike, and among the odd experts where those are enough.
pub fn choices(rows: usize, experts: usize, k: usize) -> Vec<(String, Vec<u32>)> {
    let mut random = Random::new((rows * experts + k) as u64);
    let mut draw = |among: &[u32]| {
        let mut left = among.to_vec();
        let mut take = || left.swap_remove((random.bits() % left.len() as u64) as usize);
        (0..k).map(|_| take()).collect::<Vec<u32>>()
    };
    let all: Vec<u32> = (0..experts as u32).collect();
    let odd: Vec<u32> = (1..experts as u32).step_by(2).collect();
    let same = draw(&all).repeat(rows);
    let mut cases =
        vec![("any".into(), (0..rows).flat_map(|_| draw(&all)).collect()), ("all alike".into(), same)];
    if odd.len() >= k {
        cases.push(("odd experts".into(), (0..rows).flat_map(|_| draw(&odd)).collect()));
    }
    cases
}

/// Calls of the planning kernels: rows, experts, choices. Runs of 256 slots end within a token, with
/// one, or not at all.
pub const PLANS: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (257, 1, 1),
    (1, 4, 4),
    (63, 4, 1),
    (64, 4, 4),
    (65, 8, 2),
    (86, 8, 3),
    (256, 8, 1),
    (257, 8, 2),
    (33, 64, 8),
    (1, 512, 10),
    (300, 512, 2),
];

/// Experts of a golden file.
pub struct Layer {
    pub golden: Golden,
    pub experts: usize,
    hidden: usize,
    pub width: usize,
    /// Gate and up, interleaved by row.
    gate_up: PackedMatrix,
    down: PackedMatrix,
}

impl Layer {
    pub fn read(file: &str) -> Self {
        let golden = Golden::op(file);
        let &[experts, hidden, width] = &golden.shape("w_gate")[..] else { panic!("w_gate is [E,f,d]") };
        let (gate, up) = (golden.floats("w_gate"), golden.floats("w_up"));
        let rows = gate.chunks(width).zip(up.chunks(width));
        let gate_up: Vec<f32> = rows.flat_map(|(gate, up)| [gate, up].concat()).collect();
        let pack =
            |rows, cols, data: &[f32]| PackedMatrix::pack(WeightFormat::F32, rows, cols, data).unwrap();
        let gate_up = pack(experts * 2 * hidden, width, &gate_up);
        let down = pack(experts * width, hidden, &golden.floats("w_down"));
        Self { golden, experts, hidden, width, gate_up, down }
    }

    pub fn rows(&self) -> usize {
        self.golden.shape("x")[0]
    }

    fn params(&self, matrix: &PackedMatrix, k: usize, slots_per_input: usize, stride: usize) -> LinearParams {
        let dense =
            LinearParams::dense(matrix.format, (matrix.rows / self.experts) as u32, matrix.cols as u32);
        let (choices, slots_per_input, out_stride) = (k as u32, slots_per_input as u32, stride as u32);
        LinearParams { choices, slots_per_input, out_stride, ..dense }
    }

    /// Both products of the chosen experts, by `product`: matrix, params, epilogue, input, words of the output.
    fn feed_forward(
        &self,
        k: usize,
        product: impl Fn(&PackedMatrix, LinearParams, Epilogue, &[f32], usize) -> Vec<f32>,
    ) -> Vec<f32> {
        let slots = self.rows() * k;
        let swiglu = Epilogue { activate: Activate::Silu, gated: true, ..Epilogue::NONE };
        let into = self.params(&self.gate_up, k, k, self.hidden);
        let inner = product(&self.gate_up, into, swiglu, &self.golden.floats("x"), slots * self.hidden);
        let out = self.params(&self.down, k, 1, self.width);
        product(&self.down, out, Epilogue::NONE, &inner, slots * self.width)
    }

    /// Few tokens: each choice's expert at once.
    fn selected(&self, chosen: &[u32], k: usize) -> Vec<f32> {
        self.feed_forward(k, |matrix, params, epilogue, x, words| {
            let (norm, reduce, rows) = (InputNorm::None, Reduce::Workgroup, VecRows::Selected);
            let variant =
                Matvec { norm, epilogue, rows, reduce, ..Matvec::new(Codec::F32, params.in_features) };
            let run =
                Run::new(variant, params, span(0, self.rows()), "golden").with("expert_of_slot", chosen);
            run.with("words", &matrix.words).with("x", x).out("y", words).go().floats("y").to_vec()
        })
    }

    /// Many tokens: sorted by expert first.
    pub fn grouped(&self, plan: &DevicePlan, k: usize) -> Vec<f32> {
        self.feed_forward(k, |matrix, params, epilogue, x, words| {
            plan.product(matrix, params, epilogue, x, words)
        })
    }
}

/// A rule of the golden files: the names of its choice, of its weights and of its outputs.
struct Rule {
    index: &'static str,
    weight: &'static str,
    y: Option<&'static str>,
    score: ExpertWeight,
    renormalize: bool,
    is_biased: bool,
}

const RULES: [Rule; 5] = {
    const SOFTMAX: Rule = Rule {
        index: "topk_idx",
        weight: "weight_softmax_topk",
        y: Some("y_softmax_topk"),
        score: ExpertWeight::Softmax,
        renormalize: false,
        is_biased: false,
    };
    const SIGMOID: Rule =
        Rule { weight: "weight_sigmoid_topk", y: None, score: ExpertWeight::Sigmoid, ..SOFTMAX };
    [
        SOFTMAX,
        // Renormalized weights are the softmax over the chosen logits.
        Rule { weight: "weight_topk_softmax", y: Some("y_topk_softmax"), renormalize: true, ..SOFTMAX },
        SIGMOID,
        Rule {
            weight: "weight_sigmoid_topk_renorm",
            y: Some("y_sigmoid_topk_renorm"),
            renormalize: true,
            ..SIGMOID
        },
        Rule {
            index: "biased_idx",
            weight: "biased_weight",
            y: Some("y_biased"),
            renormalize: true,
            is_biased: true,
            ..SIGMOID
        },
    ]
};

#[test]
fn layers_are_golden() {
    for file in
        ["moe_topk", "moe_one_token", "moe_all_to_one", "moe_empty_expert", "moe_ties", "moe_all_equal"]
    {
        let layer = Layer::read(file);
        let (rows, width) = (layer.rows(), layer.width);
        let choices: &[usize] = if file == "moe_all_to_one" { &[1, 2] } else { &[1, 2, 4] };
        for &k in choices {
            for Rule { index, weight, y, score, renormalize, is_biased } in RULES {
                if is_biased && file != "moe_topk" {
                    continue;
                }
                let case = format!("{file}, {weight}, k = {k}");
                let rule = RouteRule {
                    weight: score,
                    selection: if is_biased { Selection::Biased } else { Selection::Logits },
                    renormalize,
                    ..RouteRule::SOFTMAX
                };
                let variant = MoeRoute::new(layer.experts as u32, rule);
                let scale = if is_biased { layer.golden.float("routed_scaling") } else { 1.0 };
                let logit_stride = layer.experts as u32;
                let params = MoeRouteParams { scale, ..MoeRouteParams::new(k as u32, logit_stride) };
                let mut run = Run::new(variant, params, span(0, rows), &case);
                let logits = layer.golden.floats("logits");
                run = run.with("logits", &logits);
                let bias = if is_biased { layer.golden.floats("select_bias") } else { Vec::new() };
                if is_biased {
                    run = run.with("selection_bias", &bias);
                }
                let routes = run.out("expert_of_slot", rows * k).out("weight_of_slot", rows * k).go();
                let chosen = layer.golden.indices(&format!("{index}.{k}"));
                routes.same("expert_of_slot", &chosen);
                let golden = layer.golden.floats(&format!("{weight}.{k}"));
                let score = if score == ExpertWeight::Sigmoid { Score::Sigmoid } else { Score::Softmax };
                let tolerances = tolerances(&logits, &chosen, &golden, rows, score);
                routes.close("weight_of_slot", &golden, Tolerance::Each(&tolerances));

                let weights = routes.floats("weight_of_slot");
                let choices = Choices { experts: &chosen, weights, count: layer.experts, k };
                let plan = DevicePlan::new(&case, choices, Queue::TokenMajor, None);
                let (few, many) = (layer.selected(&chosen, k), layer.grouped(&plan, k));
                assert_close(&case, &many, &few, Tolerance::OfLargest(1e-5));
                let Some(y) = y else { continue };
                let golden = layer.golden.floats(&format!("{y}.{k}"));
                plan.combine(&many, weights, width).close("y", &golden, Tolerance::OfLargest(1e-5));
            }
        }
    }
}

/// Noise is the device's own, so the file's noisy logits are given as they are.
#[test]
fn layers_with_noise_are_golden() {
    let layer = Layer::read("moe_noisy_topk");
    let (rows, experts) = (layer.rows(), layer.experts as u32);
    for k in [1, 2, 4] {
        let case = format!("noisy, k = {k}");
        let rule = RouteRule { renormalize: true, ..RouteRule::SOFTMAX };
        let params = MoeRouteParams::new(k as u32, experts);
        let logits = layer.golden.floats("noisy_logits");
        let run = Run::new(MoeRoute::new(experts, rule), params, span(0, rows), &case);
        let run = run.with("logits", &logits).out("expert_of_slot", rows * k);
        let routes = run.out("weight_of_slot", rows * k).go();
        let chosen = layer.golden.indices(&format!("topk_idx.{k}"));
        routes.same("expert_of_slot", &chosen);
        let gates = layer.golden.floats(&format!("gates.{k}"));
        let gate = |(slot, e): (usize, &u32)| gates[slot / k * layer.experts + *e as usize];
        let gates: Vec<f32> = chosen.iter().enumerate().map(gate).collect();
        let tolerances = tolerances(&logits, &chosen, &gates, rows, Score::Softmax);
        routes.close("weight_of_slot", &gates, Tolerance::Each(&tolerances));

        let weights = routes.floats("weight_of_slot");
        let choices = Choices { experts: &chosen, weights, count: layer.experts, k };
        let plan = DevicePlan::new(&case, choices, Queue::TokenMajor, None);
        let y = layer.golden.floats(&format!("y.{k}"));
        plan.combine(&layer.grouped(&plan, k), weights, layer.width).close(
            "y",
            &y,
            Tolerance::OfLargest(1e-5),
        );
    }
}

/// Noise that the device draws, of the file's spread: what it is multiplied by there, an independent implementation has computed.
#[test]
fn the_spread_of_noise_is_golden() {
    let golden = Golden::op("moe_noisy_topk");
    let &[rows, count] = &golden.shape("noise_std")[..] else { panic!("noise_std is [T,E]") };
    let (clean, x, width) = (golden.floats("clean_logits"), golden.floats("x"), golden.shape("x")[1]);
    let spreads = matmul(&x, &golden.floats("noise_weight"), None, width);
    const SEED: u32 = 5;
    let noisy = clean.iter().zip(golden.floats("noise_std")).enumerate().map(|(n, (clean, std))| {
        let normal = normal_random(SEED, (n / count) as u32, (n % count) as u32);
        (f64::from(*clean) + normal * f64::from(std)) as f32
    });
    let noisy: Vec<f32> = noisy.collect();
    // All experts have weights, each of which shows its own noise.
    let expected = Router::new(Routing::topk_softmax(), count, count).route(&noisy);
    let rule = RouteRule { noise: true, renormalize: true, ..RouteRule::SOFTMAX };
    let both: Vec<f32> =
        clean.chunks(count).zip(spreads.chunks(count)).flat_map(|both| [both.0, both.1].concat()).collect();
    let params = MoeRouteParams {
        second_offset: count as u32,
        seed: SEED,
        ..MoeRouteParams::new(count as u32, 2 * count as u32)
    };
    let run = Run::new(MoeRoute::new(count as u32, rule), params, span(0, rows), "golden spread");
    let run = run.with("logits", &both).out("expert_of_slot", rows * count);
    let found = run.out("weight_of_slot", rows * count).go();
    found.same("expert_of_slot", &expected.experts);
    // A quantile of a normal number is good to some units of f32, times a spread of up to about 4.
    let mut tolerances = tolerances(&noisy, &expected.experts, &expected.weights, rows, Score::Softmax);
    tolerances.iter_mut().zip(&expected.weights).for_each(|(t, weight)| *t += 2e-5 * weight.abs());
    found.close("weight_of_slot", &expected.weights, Tolerance::Each(&tolerances));
}

#[test]
fn a_plan_is_made_of_every_slot_once() {
    for (rows, experts, k) in PLANS {
        for (case, chosen) in choices(rows, experts, k) {
            let plan = wattle::reference::expert_plan::plan(&chosen, experts, k);
            let mut slots = slot_of_place(&plan);
            slots.sort_unstable();
            let all: Vec<u32> = (0..chosen.len() as u32).collect();
            assert_same(&format!("{case}, {rows} rows, {experts} experts"), &slots, &all);
        }
    }
}
