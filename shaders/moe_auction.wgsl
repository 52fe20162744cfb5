// Experts are auctioned to tokens, so that each takes as many (arXiv 2103.16716, section 3.1; Bertsekas and Castanon, "The auction
// algorithm for the transportation problem", 1989). A bidder without an expert bids for the one it gains most from; an
// expert keeps the highest bids it has places for, and its price is the lowest of them. Increments fall by factors of 5.
// One workgroup; lanes stride over the bidders: tokens, and what fills the experts up. Sixteen experts or bidders are looked at in
// a turn, because devices may bound turns: see `max_rounds` in moe_auction.rs.
// Needs: sigmoid (common/sigmoid), number (common/logits), workgroup_sum4 (reduce/*), span. Constants: EXPERTS, WORKGROUP_SIZE, IN_A_TURN.
struct Params { logit_stride: u32, epsilon: f32, max_rounds: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [rows, logit_stride]
@group(0) @binding(3) var<storage, read_write> bidders: array<vec4<u32>>; // [EXPERTS capacity]: has a place, expert, bid, kept expert
@group(0) @binding(4) var<storage, read_write> expert_of_slot: array<u32>;    // [rows]
@group(0) @binding(5) var<storage, read_write> weight_of_slot: array<f32>;    // [rows]
// What `bid` and `sell` write out.
const_assert IN_A_TURN == 16u;
const LARGE: f32 = 3.2e38;

var<workgroup> prices: array<f32, EXPERTS>;
var<workgroup> held: array<u32, EXPERTS>;
var<workgroup> ranges: array<vec2<f32>, WORKGROUP_SIZE>;    // least and largest logit
var<workgroup> is_open: bool;
var<workgroup> whole_range: vec2<f32>;

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

fn capacity() -> u32 {
    return (span.rows + EXPERTS - 1u) / EXPERTS;
}

// A range with the i-th logit, should there be one.
fn wider(range: vec2<f32>, i: u32) -> vec2<f32> {
    if i < span.rows * EXPERTS {
        let logit = logits[(i / EXPERTS) * params.logit_stride + i % EXPERTS];
        if is_finite(logit) {
            return vec2<f32>(min(range.x, logit), max(range.y, logit));
        }
    }
    return range;
}

fn find_range(lane: u32) {
    var range = vec2<f32>(LARGE, -LARGE);
    for (var i = lane; i < span.rows * EXPERTS; i += 4u * WORKGROUP_SIZE) {
        range = wider(wider(range, i), i + WORKGROUP_SIZE);
        range = wider(wider(range, i + 2u * WORKGROUP_SIZE), i + 3u * WORKGROUP_SIZE);
    }
    ranges[lane] = range;
    workgroupBarrier();
    for (var stride = WORKGROUP_SIZE / 2u; stride > 0u; stride /= 2u) {
        if lane < stride {
            let other = ranges[lane + stride];
            ranges[lane] = vec2<f32>(min(ranges[lane].x, other.x), max(ranges[lane].y, other.y));
        }
        workgroupBarrier();
    }
    if lane == 0u {
        whole_range = select(vec2<f32>(), ranges[0], ranges[0].x <= ranges[0].y);
    }
}

// What an expert is worth to a bidder. Those beyond the tokens are indifferent.
fn worth(bidder: u32, expert: u32) -> f32 {
    if bidder >= span.rows {
        return 0.0;
    }
    let logit = logits[bidder * params.logit_stride + expert];
    let is_high = bitcast<u32>(logit) == 0x7f800000u;
    let beyond = select(whole_range.x - 1.0, whole_range.y + 1.0, is_high);
    return select(beyond, logit, is_finite(logit));
}

// The most that a bidder gains, the next most, and the expert of the first.
struct Gains { first: f32, second: f32, best: u32 }

fn considered(gains: Gains, bidder: u32, expert: u32) -> Gains {
    if expert >= EXPERTS {
        return gains;
    }
    let gain = worth(bidder, expert) - prices[expert];
    if gain > gains.first {
        return Gains(gain, gains.first, expert);
    }
    return Gains(gains.first, max(gains.second, gain), gains.best);
}

fn considered4(gains: Gains, bidder: u32, e: u32) -> Gains {
    let two = considered(considered(gains, bidder, e), bidder, e + 1u);
    return considered(considered(two, bidder, e + 2u), bidder, e + 3u);
}

// A bidder's best expert, ties to the lower one, and a bid: as much above its price as the next best would give less.
fn bid(bidder: u32, increment: f32) -> vec2<u32> {
    var gains = Gains(-LARGE, -LARGE, 0u);
    for (var e = 0u; e < EXPERTS; e += IN_A_TURN) {
        gains = considered4(considered4(gains, bidder, e), bidder, e + 4u);
        gains = considered4(considered4(gains, bidder, e + 8u), bidder, e + 12u);
    }
    let margin = select(gains.first - gains.second, 0.0, gains.second == -LARGE);
    return vec2<u32>(gains.best, bitcast<u32>(prices[gains.best] + margin + increment));
}

// Bids of everybody without a place, of whom there are at first all; whether there were any.
fn collect_bids(increment: f32, is_first: bool, lane: u32) -> bool {
    var count = 0.0;
    for (var b = lane; b < EXPERTS * capacity(); b += WORKGROUP_SIZE) {
        if is_first || bidders[b].x == 0u {
            bidders[b] = vec4<u32>(0u, bid(b, increment), bidders[b].w);
            count += 1.0;
        }
    }
    storageBarrier();
    let total = workgroup_sum4(vec4<f32>(count, 0.0, 0.0, 0.0), lane).x;
    if lane == 0u {
        is_open = total > 0.0;
    }
    return workgroupUniformLoad(&is_open);
}

// Whether another bidder comes before one for the same expert: with a higher bid, or as high a one and earlier.
fn comes_before(other: u32, b: u32, own: vec4<u32>) -> u32 {
    if other >= EXPERTS * capacity() {
        return 0u;
    }
    let rival = bidders[other].yz;
    let offers = bitcast<vec2<f32>>(vec2<u32>(rival.y, own.z));
    let is_before = offers.x > offers.y || (offers.x == offers.y && other < b);
    return u32(rival.x == own.y && is_before);
}

fn come_before4(other: u32, b: u32, own: vec4<u32>) -> u32 {
    return comes_before(other, b, own) + comes_before(other + 1u, b, own)
        + comes_before(other + 2u, b, own) + comes_before(other + 3u, b, own);
}

// Of everybody who bids for an expert or has a place of it, the highest bids have places, ties to the earlier bidder.
fn sell(lane: u32) {
    for (var b = lane; b < EXPERTS * capacity(); b += WORKGROUP_SIZE) {
        let own = bidders[b];
        var rank = 0u;
        for (var other = 0u; other < EXPERTS * capacity(); other += IN_A_TURN) {
            rank += come_before4(other, b, own) + come_before4(other + 4u, b, own);
            rank += come_before4(other + 8u, b, own) + come_before4(other + 12u, b, own);
        }
        bidders[b].x = u32(rank < capacity());
        if rank + 1u == capacity() {
            prices[own.y] = max(prices[own.y], bitcast<f32>(own.z));
        }
    }
    storageBarrier();
    workgroupBarrier();
}

// Everybody has a place: it stays should the next rounds not be enough.
fn keep_places(lane: u32) {
    for (var b = lane; b < EXPERTS * capacity(); b += WORKGROUP_SIZE) {
        bidders[b].w = bidders[b].y;
    }
}

// Should the rounds have run out before everybody ever had a place, who has none gets one of the first expert with room.
fn place_the_rest() {
    for (var b = 0u; b < EXPERTS * capacity(); b += 1u) {
        if bidders[b].x == 1u {
            bidders[b].w = bidders[b].y;
            held[bidders[b].y] += 1u;
        }
    }
    var free = 0u;
    for (var b = 0u; b < EXPERTS * capacity(); b += 1u) {
        if bidders[b].x == 0u {
            while free + 1u < EXPERTS && held[free] == capacity() {
                free += 1u;
            }
            bidders[b].w = free;
            held[free] += 1u;
        }
    }
}

fn run(workgroup: u32, lane: u32) {
    if workgroup > 0u {
        return;
    }
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        prices[e] = 0.0;
        held[e] = 0u;
    }
    find_range(lane);
    // Loops with barriers hang on it, which it must be told of.
    let ends = workgroupUniformLoad(&whole_range);
    let range = ends.y - ends.x;
    let last = max(params.epsilon, range * 0.000003814697265625);
    var increment = max(last, range * 0.25);
    var rounds = params.max_rounds;
    var reached = 0.0;
    var is_over = false;
    while !is_over {
        var is_unsold = collect_bids(increment, true, lane);
        while is_unsold && rounds > 0u {
            sell(lane);
            is_unsold = collect_bids(increment, false, lane);
            rounds -= 1u;
        }
        if !is_unsold {
            keep_places(lane);
            reached = increment;
        }
        is_over = is_unsold || increment <= last;
        increment = max(last, increment * 0.2);
    }
    storageBarrier();
    workgroupBarrier();
    if lane == 0u {
        if reached == 0.0 {
            place_the_rest();
        }
        // Instead of the first one's bid: how near to the largest sum this is.
        bidders[0].z = bitcast<u32>(reached);
    }
    storageBarrier();
    workgroupBarrier();
    for (var row = lane; row < span.rows; row += WORKGROUP_SIZE) {
        let expert = bidders[row].w;
        expert_of_slot[row] = expert;
        weight_of_slot[row] = sigmoid(number(logits[row * params.logit_stride + expert]));
    }
}
