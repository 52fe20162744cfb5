//! Balanced routing by auction: the assignment of BASE layers (arXiv 2103.16716, section 3.1), by the auction of Bertsekas and
//! Castanon ("The auction algorithm for the transportation problem", Annals of Operations Research 20, 1989).

/// Rounds after which an auction ends and what has no expert goes to the first with room.
pub fn most_rounds(tokens: usize) -> usize {
    20_000 + 200 * tokens
}

/// How far the increments of the last round of bids may be from nothing, so that f32 still shows them.
pub fn least_increment(epsilon: f32, range: f32) -> f32 {
    epsilon.max(range / 262_144.0)
}

/// The expert of each token, `[n]`: at most `ceil(n / E)` of each, so that the sum of `logits` `[n, E]` is at most `n` least
/// increments below the largest there is.
///
/// Every expert takes so many tokens, the missing ones being indifferent. Tokens without an expert bid for the one they gain
/// most from, as much more than its price as they would gain less from the next one, and an increment; each expert
/// takes the highest bid of a round, for which it gives up the lowest it has when it is full. Its price is that lowest bid.
/// Increments fall from a quarter of the range of the logits to the least by factors of 5; prices stay.
/// All of it in f32, as the kernel.
pub fn auction(logits: &[f32], experts: usize, epsilon: f32) -> Vec<u32> {
    let tokens = logits.len() / experts;
    let capacity = tokens.div_ceil(experts);
    let bidders = capacity * experts;
    let finite = || logits.iter().copied().filter(|logit| logit.is_finite());
    let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
    let value = |token: usize, expert: usize| match logits.get(token * experts + expert) {
        None => 0.0,
        Some(logit) if logit.is_nan() => low - 1.0,
        Some(logit) => logit.clamp(low - 1.0, high + 1.0),
    };
    let last = least_increment(epsilon, high - low);
    let mut increment = last.max((high - low) * 0.25);
    let mut sale = Sale::new(bidders, experts, capacity);
    let mut rounds = most_rounds(tokens);
    loop {
        sale.reopen();
        while rounds > 0 && sale.round(value, increment) {
            rounds -= 1;
        }
        if increment <= last {
            break;
        }
        increment = last.max(increment * 0.2);
    }
    sale.place_the_rest();
    sale.expert_of[..tokens].iter().map(|expert| *expert as u32).collect()
}

const NOBODY: usize = usize::MAX;

/// Who holds a place of which expert, and at what bid.
struct Sale {
    capacity: usize,
    prices: Vec<f32>,
    /// Of each bidder.
    expert_of: Vec<usize>,
    bids: Vec<f32>,
    /// Of each expert.
    held: Vec<usize>,
}

impl Sale {
    fn new(bidders: usize, experts: usize, capacity: usize) -> Self {
        Self {
            capacity,
            prices: vec![0.0; experts],
            expert_of: vec![NOBODY; bidders],
            bids: vec![0.0; bidders],
            held: vec![0; experts],
        }
    }

    /// Everybody is without an expert; prices stay.
    fn reopen(&mut self) {
        self.expert_of.fill(NOBODY);
        self.held.fill(0);
    }

    /// One round of bids; `false` where everybody has an expert.
    fn round(&mut self, value: impl Fn(usize, usize) -> f32, increment: f32) -> bool {
        let mut best: Vec<(f32, usize)> = vec![(f32::NEG_INFINITY, NOBODY); self.prices.len()];
        for bidder in (0..self.expert_of.len()).filter(|bidder| self.expert_of[*bidder] == NOBODY) {
            let (expert, bid) = self.bid(|expert| value(bidder, expert), increment);
            self.bids[bidder] = bid;
            if bid > best[expert].0 {
                best[expert] = (bid, bidder);
            }
        }
        let is_open = best.iter().any(|(_, bidder)| *bidder != NOBODY);
        for (expert, (_, bidder)) in best.into_iter().enumerate().filter(|(_, (_, bidder))| *bidder != NOBODY) {
            self.take(expert, bidder);
        }
        is_open
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

    /// A bidder gets a place; of equal lowest bids the earlier bidder's ends.
    fn take(&mut self, expert: usize, bidder: usize) {
        if self.held[expert] == self.capacity {
            let loser = self.lowest(expert);
            self.expert_of[loser] = NOBODY;
        } else {
            self.held[expert] += 1;
        }
        self.expert_of[bidder] = expert;
        if self.held[expert] == self.capacity {
            self.prices[expert] = self.prices[expert].max(self.bids[self.lowest(expert)]);
        }
    }

    fn lowest(&self, expert: usize) -> usize {
        let holders = (0..self.expert_of.len()).filter(|bidder| self.expert_of[*bidder] == expert);
        holders.reduce(|low, next| if self.bids[next] < self.bids[low] { next } else { low }).unwrap_or(0)
    }

    fn place_the_rest(&mut self) {
        for bidder in 0..self.expert_of.len() {
            if self.expert_of[bidder] == NOBODY {
                let free = self.held.iter().position(|held| *held < self.capacity).unwrap_or(0);
                self.expert_of[bidder] = free;
                self.held[free] += 1;
            }
        }
    }
}
