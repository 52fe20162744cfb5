//! Balanced routing by auction: the assignment of BASE layers (arXiv 2103.16716, section 3.1), by the auction of Bertsekas and
//! Castanon ("The auction algorithm for the transportation problem", Annals of Operations Research 20, 1989).

/// How far the increments of the last round of bids may be from nothing, so that f32 still shows them.
pub fn least_increment(epsilon: f32, range: f32) -> f32 {
    epsilon.max(range / 262_144.0)
}

/// The expert of each token, `[n]`: at most `ceil(n / E)` of each, so that the sum of `logits` `[n, E]` is at most `n` least
/// increments below the largest there is, `n` rounded up to a multiple of `E`.
///
/// Every expert takes so many bidders, those that are no tokens being indifferent. Who has no place bids for the expert it
/// gains most from, as much more than its price as it would gain less from the next one, and an increment. An expert
/// keeps the highest bids that it has places for; the lowest of those is its price once they are taken. Increments fall from a
/// quarter of the range of the logits to the least by factors of 5; prices stay. All of it in f32, as the kernel.
/// When so many rounds have not been enough, the last assignment in which everybody had a place counts; where there was none,
/// who has no place gets one of the first expert with room.
pub fn auction(logits: &[f32], experts: usize, epsilon: f32, max_rounds: u32) -> Vec<u32> {
    let tokens = logits.len() / experts;
    let finite = || logits.iter().copied().filter(|logit| logit.is_finite());
    let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
    let value = |bidder: usize, expert: usize| match logits.get(bidder * experts + expert) {
        None => 0.0,
        Some(logit) if logit.is_nan() => low - 1.0,
        Some(logit) => logit.clamp(low - 1.0, high + 1.0),
    };
    let last = least_increment(epsilon, high - low);
    let mut increment = last.max((high - low) * 0.25);
    let mut sale = Sale::new(tokens.div_ceil(experts), experts);
    let mut rounds = max_rounds;
    let mut placed = None;
    loop {
        sale.has_place.fill(false);
        let mut is_unsold = sale.collect_bids(value, increment);
        while is_unsold && rounds > 0 {
            sale.sell();
            is_unsold = sale.collect_bids(value, increment);
            rounds -= 1;
        }
        if !is_unsold {
            placed = Some(sale.expert_of.clone());
        }
        if is_unsold || increment <= last {
            break;
        }
        increment = last.max(increment * 0.2);
    }
    let expert_of = placed.unwrap_or_else(|| sale.place_the_rest());
    expert_of[..tokens].iter().map(|expert| *expert as u32).collect()
}

/// Who wants which expert, at what bid, and who has a place.
struct Sale {
    capacity: usize,
    prices: Vec<f32>,
    has_place: Vec<bool>,
    expert_of: Vec<usize>,
    bids: Vec<f32>,
}

impl Sale {
    fn new(capacity: usize, experts: usize) -> Self {
        let bidders = capacity * experts;
        Self {
            capacity,
            prices: vec![0.0; experts],
            has_place: vec![false; bidders],
            expert_of: vec![0; bidders],
            bids: vec![0.0; bidders],
        }
    }

    /// Bids of everybody without a place; whether there were any.
    fn collect_bids(&mut self, value: impl Fn(usize, usize) -> f32, increment: f32) -> bool {
        let without: Vec<usize> = (0..self.bids.len()).filter(|bidder| !self.has_place[*bidder]).collect();
        for &bidder in &without {
            (self.expert_of[bidder], self.bids[bidder]) = self.bid(|expert| value(bidder, expert), increment);
        }
        !without.is_empty()
    }

    /// Where a bidder bids, ties to the lower expert, and how much.
    fn bid(&self, value: impl Fn(usize) -> f32, increment: f32) -> (usize, f32) {
        let (mut first, mut expert, mut second) = (f32::NEG_INFINITY, 0, f32::NEG_INFINITY);
        for (e, price) in self.prices.iter().enumerate() {
            let gain = value(e) - price;
            if gain > first {
                (second, first, expert) = (first, gain, e);
            } else {
                second = second.max(gain);
            }
        }
        // Where there is only one expert, there is nothing to outbid.
        let margin = if second == f32::NEG_INFINITY { 0.0 } else { first - second };
        (expert, self.prices[expert] + margin + increment)
    }

    /// The highest bids for each expert have places, ties to the earlier bidder.
    fn sell(&mut self) {
        for expert in 0..self.prices.len() {
            let mut bidders: Vec<usize> =
                (0..self.bids.len()).filter(|bidder| self.expert_of[*bidder] == expert).collect();
            bidders.sort_by(|a, b| self.bids[*b].total_cmp(&self.bids[*a]));
            for (rank, bidder) in bidders.into_iter().enumerate() {
                self.has_place[bidder] = rank < self.capacity;
                if rank + 1 == self.capacity {
                    self.prices[expert] = self.prices[expert].max(self.bids[bidder]);
                }
            }
        }
    }

    fn place_the_rest(mut self) -> Vec<usize> {
        let mut held = vec![0; self.prices.len()];
        let (with, without): (Vec<usize>, Vec<usize>) =
            (0..self.has_place.len()).partition(|bidder| self.has_place[*bidder]);
        with.into_iter().for_each(|bidder| held[self.expert_of[bidder]] += 1);
        for bidder in without {
            let free = held.iter().position(|held| *held < self.capacity).unwrap_or(0);
            self.expert_of[bidder] = free;
            held[free] += 1;
        }
        self.expert_of
    }
}
