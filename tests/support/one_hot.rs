//! A layer of experts as tensors of ones and zeros (GShard, arXiv 2006.16668, section 3; Switch, arXiv 2101.03961): what the
//! plans of the library, which never make such tensors, are held against. Nothing here comes from theirs.

use wattle::model::config::GrantOrder;

use super::compare::assert_same;

/// What tokens chose: experts and weights `[n, k]`, of `count` experts. A number that is no expert is a choice not used.
#[derive(Clone, Copy)]
pub struct Choices<'a> {
    pub experts: &'a [u32],
    pub weights: &'a [f32],
    pub count: usize,
    pub k: usize,
}

impl Choices<'_> {
    /// Indices into `[n, k]` in the order in which choices are granted.
    pub fn granted(&self, order: GrantOrder) -> Vec<usize> {
        let largest: Vec<f32> = self
            .weights
            .chunks(self.k)
            .map(|of_token| of_token.iter().copied().fold(0.0, f32::max))
            .collect();
        let mut slots: Vec<usize> = (0..self.experts.len()).collect();
        slots.sort_by(|&a, &b| {
            let [(t, j), (u, i)] = [a, b].map(|slot| (slot / self.k, slot % self.k));
            match order {
                GrantOrder::TokenMajor => (t, j).cmp(&(u, i)),
                GrantOrder::ChoiceMajor => (j, t).cmp(&(i, u)),
                GrantOrder::Priority => j.cmp(&i).then(largest[u].total_cmp(&largest[t])).then(t.cmp(&u)),
            }
        });
        slots
    }
}

/// Who has which of the `capacity` places of each expert.
pub struct OneHot {
    experts: usize,
    capacity: usize,
    /// `[n, E, C]`, 1 where a token has that place of that expert.
    dispatch: Vec<f32>,
    /// The same with the weight of the choice in place of 1.
    combine: Vec<f32>,
}

impl OneHot {
    pub fn new(choices: Choices, order: GrantOrder, capacity: usize) -> Self {
        let Choices { experts, weights, count, k } = choices;
        let size = experts.len() / k * count * capacity;
        let (mut dispatch, mut combine) = (vec![0.0; size], vec![0.0; size]);
        // The sum of all one-hot rows `[E]` granted so far.
        let mut sums = vec![0; count];
        for slot in choices.granted(order) {
            for (expert, sum) in sums.iter_mut().enumerate() {
                let one = usize::from(experts[slot] == expert as u32);
                if one == 1 && *sum < capacity {
                    let at = (slot / k * count + expert) * capacity + *sum;
                    (dispatch[at], combine[at]) = (1.0, weights[slot]);
                }
                *sum += one;
            }
        }
        Self { experts: count, capacity, dispatch, combine }
    }

    /// `y[t] = sum_ec combine[t, e, c] expert_e(sum_s dispatch[s, e, c] x[s])` of rows `[n, d]`.
    pub fn layer(&self, x: &[f32], d: usize, expert: impl Fn(usize, &[f32]) -> Vec<f32>) -> Vec<f32> {
        let places = self.experts * self.capacity;
        let mut y = vec![0.0f64; x.len()];
        for place in 0..places {
            let mut input = vec![0.0; d];
            for (one, x) in self.dispatch[place..].iter().step_by(places).zip(x.chunks(d)) {
                input.iter_mut().zip(x).for_each(|(sum, x)| *sum += one * x);
            }
            let output = expert(place / self.capacity, &input);
            for (weight, y) in self.combine[place..].iter().step_by(places).zip(y.chunks_mut(d)) {
                y.iter_mut().zip(&output).for_each(|(y, out)| *y += f64::from(*weight) * f64::from(*out));
            }
        }
        y.into_iter().map(|y| y as f32).collect()
    }

    /// Asserts that a plan dispatches the same: the place of each choice `[n, k]`, those of an expert beginning at its offset, and
    /// `u32::MAX` for one that has none.
    #[track_caller]
    pub fn assert_dispatches(&self, case: &str, choices: Choices, places: &[u32], offsets: &[u32]) {
        let mut dispatch = vec![0.0; self.dispatch.len()];
        for (slot, place) in places.iter().enumerate().filter(|(_, place)| **place != u32::MAX) {
            let expert = choices.experts[slot] as usize;
            let at = slot / choices.k * self.experts + expert;
            dispatch[at * self.capacity + (place - offsets[expert]) as usize] = 1.0;
        }
        assert_same(&format!("{case}, dispatch tensor"), &dispatch, &self.dispatch);
    }
}
