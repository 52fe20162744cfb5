//! From choices to outputs on the device, the kernels of a plan in a row: against the reference's plan, against one-hot tensors, and
//! with experts that give back what they are given.

use wattle::fragments::{Epilogue, Queue};
use wattle::kernels::linear::LinearParams;
use wattle::model::config::{Capacity, GrantOrder, Routing, Share};
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::reference::expert_plan::{plan_within, queue};
use wattle::reference::matmul::matmul;
use wattle::reference::moe::{Router, Routes};

use crate::bound::EPS;
use crate::drops::share;
use crate::expert_plan::DevicePlan;
use crate::harness::POISON;
use crate::moe::{PLANS, run_offsets, slot_of_place, tile_map};
use crate::select::every;
use crate::support::compare::{Tolerance, assert_same};
use crate::support::one_hot::{Choices, OneHot};
use crate::support::random::Random;

const ORDERS: [GrantOrder; 3] = [GrantOrder::TokenMajor, GrantOrder::ChoiceMajor, GrantOrder::Priority];

/// All that chose an expert, and both conventions of a capacity.
const LIMITS: [Option<(f32, Share)>; 3] =
    [None, Some((1.25, Share::PerChoice)), Some((1.0, Share::PerToken))];

/// More than 1024 slots, so several runs: of numbers of experts that are no powers of two, and of one that is.
const MANY: [(usize, usize, usize); 4] = [(521, 7, 3), (1031, 100, 1), (401, 513, 4), (600, 64, 2)];

/// Few enough for tensors of tokens by experts by places.
const FEW: [(usize, usize, usize); 4] = [(1, 3, 2), (37, 7, 2), (65, 4, 4), (140, 5, 2)];

/// Choices by logits, uniform or with ever fewer tokens for later experts. Skewed ones are of few values, so that tokens are equally
/// important.
fn routes((rows, count, k): (usize, usize, usize), is_skewed: bool) -> Routes {
    let mut logits = Random::new((rows * count + k) as u64).gaussian(rows * count);
    if is_skewed {
        let of = |(n, logit): (usize, &mut f32)| {
            *logit = (2.0 * *logit).round() / 2.0 - ((n % count + 1) as f32).log2().round();
        };
        logits.iter_mut().enumerate().for_each(of);
    }
    Router::new(Routing::softmax_topk(true), count, k).route(&logits)
}

/// One way to grant choices.
struct Grant {
    case: String,
    order: GrantOrder,
    capacity: Option<Capacity>,
    /// Places of an expert.
    places: usize,
}

/// Every way, of a pass of so many tokens.
fn grants((rows, count, k): (usize, usize, usize), is_skewed: bool) -> Vec<Grant> {
    let of = |order| {
        LIMITS.map(|limit| {
            let capacity = limit.map(|(factor, share)| Capacity { factor, share, order });
            let places = capacity.map_or(rows, |of| of.of(rows as u32, k as u32, count as u32) as usize);
            let case = format!("{rows} tokens, {k} of {count}, skewed {is_skewed}, {order:?}, {limit:?}");
            Grant { case, order, capacity, places }
        })
    };
    ORDERS.into_iter().flat_map(of).collect()
}

impl Grant {
    fn plan(&self, choices: Choices) -> DevicePlan {
        let share = self.capacity.map(|capacity| share(capacity, choices.count, choices.k));
        DevicePlan::new(&self.case, choices, Queue::from(self.order), share)
    }
}

/// Square matrices of experts, one after the other.
fn product(plan: &DevicePlan, matrices: &[f32], x: &[f32], width: usize, k: usize) -> Vec<f32> {
    let rows = matrices.len() / width;
    let matrix = PackedMatrix::pack(WeightFormat::F32, rows, width, matrices).unwrap();
    let dense = LinearParams::dense(matrix.format, width as u32, width as u32);
    let (choices, out_stride) = (k as u32, width as u32);
    let params = LinearParams { choices, slots_per_input: choices, out_stride, ..dense };
    plan.product(&matrix, params, Epilogue::NONE, x, x.len() * k)
}

#[test]
fn plans_of_a_device_are_those_of_the_reference() {
    for (shape, is_skewed) in
        every(1, PLANS.into_iter().chain(MANY)).flat_map(|shape| [(shape, false), (shape, true)])
    {
        let (_, count, k) = shape;
        let routes = routes(shape, is_skewed);
        let choices = Choices { experts: &routes.experts, weights: &routes.weights, count, k };
        for grant in grants(shape, is_skewed) {
            let found = grant.plan(choices);
            assert_is_permutation(&grant, choices, &found);
            let case = &grant.case;
            let queue = queue(grant.order, &routes.weights, k);
            let expected = plan_within(&routes.experts, &queue, [count, k], grant.places as u32);
            let order: Vec<u32> = queue.iter().map(|slot| routes.experts[*slot]).collect();
            assert_same(&format!("{case}, offsets"), found.offsets(), &run_offsets(&expected, &order));
            let mut places = slot_of_place(&expected);
            places.resize(routes.experts.len(), POISON);
            assert_same(&format!("{case}, slots"), found.slot_of_place(), &places);
            if let Some(places) = found.place_of_slot() {
                assert_same(&format!("{case}, places"), places, &expected.slots);
            }
            let tiles = tile_map(&expected, found.tile_map().len() / 4).concat();
            assert_same(&format!("{case}, tiles"), found.tile_map(), &tiles);
        }
    }
}

/// Each expert has the first of those that chose it, as many as it takes, in the order in which they are granted; and no choice is
/// anywhere twice.
fn assert_is_permutation(grant: &Grant, choices: Choices, found: &DevicePlan) {
    let (case, granted) = (&grant.case, choices.granted(grant.order));
    let mut wanted = vec![Vec::new(); choices.count];
    granted.iter().for_each(|slot| wanted[choices.experts[*slot] as usize].push(*slot as u32));
    let mut left = found.slot_of_place();
    for (expert, mut wanted) in wanted.into_iter().enumerate() {
        let first = found.slot_of_place().len() - left.len();
        assert_eq!(found.offsets()[expert] as usize, first, "{case}, first place of expert {expert}");
        wanted.truncate(grant.places);
        let own;
        (own, left) = left.split_at(wanted.len());
        assert_same(&format!("{case}, expert {expert}"), own, &wanted);
    }
    assert!(left.iter().all(|slot| *slot == POISON), "{case}: places behind those of all experts");
}

#[test]
fn identity_experts_return_the_input() {
    const WIDTH: usize = 8;
    for (shape, is_skewed) in every(1, MANY).flat_map(|shape| [(shape, false), (shape, true)]) {
        let (rows, count, k) = shape;
        let routes = routes(shape, is_skewed);
        let choices = Choices { experts: &routes.experts, weights: &routes.weights, count, k };
        let x = Random::new(rows as u64).gaussian(rows * WIDTH);
        let identity = |n: usize| f32::from(n % WIDTH == n / WIDTH % WIDTH);
        let identities: Vec<f32> = (0..count * WIDTH * WIDTH).map(identity).collect();
        for grant in grants(shape, is_skewed) {
            let plan = grant.plan(choices);
            let found = plan.combine(&product(&plan, &identities, &x, WIDTH, k), &routes.weights, WIDTH);
            let is_kept = |slot: usize| plan.place_of_slot().is_none_or(|places| places[slot] != u32::MAX);
            let y = x.chunks(WIDTH).enumerate().flat_map(|(token, x)| {
                let kept: Vec<usize> = (token * k..(token + 1) * k).filter(|slot| is_kept(*slot)).collect();
                // Whole where nothing is dropped: weights add up to 1.
                let share =
                    if kept.len() == k { 1.0 } else { kept.iter().map(|slot| routes.weights[*slot]).sum() };
                x.iter().map(move |x| share * x)
            });
            // Roundings of weights, of their sum, and of the sum of rows.
            let tolerance = Tolerance::Mixed(0.0, EPS * (3 * k + 2) as f32);
            found.close("y", &y.collect::<Vec<_>>(), tolerance);
        }
    }
}

#[test]
fn layers_are_those_of_one_hot_tensors() {
    const WIDTH: usize = 5;
    for (shape, is_skewed) in every(1, FEW).flat_map(|shape| [(shape, false), (shape, true)]) {
        let (rows, count, k) = shape;
        let mut routes = routes(shape, is_skewed);
        if is_skewed {
            // Some choices are not used.
            routes.experts.iter_mut().skip(1).step_by(7).for_each(|expert| *expert = u32::MAX);
        }
        let choices = Choices { experts: &routes.experts, weights: &routes.weights, count, k };
        let mut random = Random::new(rows as u64);
        let (x, matrices) = (random.gaussian(rows * WIDTH), random.gaussian(count * WIDTH * WIDTH));
        let expert =
            |e: usize, x: &[f32]| matmul(x, &matrices[e * WIDTH * WIDTH..][..WIDTH * WIDTH], None, WIDTH);
        for grant in grants(shape, is_skewed) {
            let dense = OneHot::new(choices, grant.order, grant.places);
            let plan = grant.plan(choices);
            if let Some(places) = plan.place_of_slot() {
                dense.assert_dispatches(&grant.case, choices, places, plan.offsets());
            }
            let found = plan.combine(&product(&plan, &matrices, &x, WIDTH, k), &routes.weights, WIDTH);
            found.close("y", &dense.layer(&x, WIDTH, expert), Tolerance::OfLargest(1e-6));
        }
    }
}
