// Experts are auctioned to tokens, so that each takes as many (arXiv 2103.16716, section 3.1; Bertsekas and Castanon, "The auction
// algorithm for the transportation problem", 1989). A bidder without an expert bids for the one it gains most from; an
// expert keeps the highest bids it has places for, and its price is the lowest of them. Increments fall by factors of 5.
// One workgroup; lanes stride over the bidders: tokens, and what fills the experts up.
// Needs: sigmoid (common/sigmoid), workgroup_sum4 (reduce/*), span. Constants: EXPERTS.
struct Params { logit_stride: u32, epsilon: f32, max_rounds: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [rows, logit_stride]
@group(0) @binding(3) var<storage, read_write> bidders: array<vec4<u32>>; // [EXPERTS capacity]: has a place, expert, bid, 0
@group(0) @binding(4) var<storage, read_write> expert_of_slot: array<u32>;    // [rows]
@group(0) @binding(5) var<storage, read_write> weight_of_slot: array<f32>;    // [rows]
const WORKGROUP_SIZE: u32 = 256u;
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

fn find_range(lane: u32) {
    var range = vec2<f32>(LARGE, -LARGE);
    for (var i = lane; i < span.rows * EXPERTS; i += WORKGROUP_SIZE) {
        let logit = logits[(i / EXPERTS) * params.logit_stride + i % EXPERTS];
        if is_finite(logit) {
            range = vec2<f32>(min(range.x, logit), max(range.y, logit));
        }
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

// A bidder's best expert, ties to the lower one, and a bid: as much above its price as the next best would give less.
fn bid(bidder: u32, increment: f32) -> vec4<u32> {
    var first = -LARGE;
    var second = -LARGE;
    var best = 0u;
    for (var e = 0u; e < EXPERTS; e += 1u) {
        let gain = worth(bidder, e) - prices[e];
        if gain > first {
            second = first;
            first = gain;
            best = e;
        } else {
            second = max(second, gain);
        }
    }
    let margin = select(first - second, 0.0, second == -LARGE);
    return vec4<u32>(0u, best, bitcast<u32>(prices[best] + margin + increment), 0u);
}

// Bids of everybody without a place, of whom there are at first all; whether there were any.
fn collect_bids(increment: f32, is_first: bool, lane: u32) -> bool {
    var count = 0.0;
    for (var b = lane; b < EXPERTS * capacity(); b += WORKGROUP_SIZE) {
        if is_first || bidders[b].x == 0u {
            bidders[b] = bid(b, increment);
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

// Of everybody who bids for an expert or has a place of it, the highest bids have places, ties to the earlier bidder.
fn sell(lane: u32) {
    for (var b = lane; b < EXPERTS * capacity(); b += WORKGROUP_SIZE) {
        let own = bidders[b];
        let offer = bitcast<f32>(own.z);
        var rank = 0u;
        for (var other = 0u; other < EXPERTS * capacity(); other += 1u) {
            let rival = bidders[other].yz;
            let rival_offer = bitcast<f32>(rival.y);
            let is_before = rival_offer > offer || (rival_offer == offer && other < b);
            rank += u32(rival.x == own.y && is_before);
        }
        bidders[b].x = u32(rank < capacity());
        if rank + 1u == capacity() {
            prices[own.y] = max(prices[own.y], offer);
        }
    }
    storageBarrier();
    workgroupBarrier();
}

// Should the rounds have run out, what is left goes to the first experts with room.
fn place_the_rest() {
    for (var b = 0u; b < EXPERTS * capacity(); b += 1u) {
        if bidders[b].x == 1u {
            held[bidders[b].y] += 1u;
        }
    }
    var free = 0u;
    for (var b = 0u; b < EXPERTS * capacity(); b += 1u) {
        if bidders[b].x == 0u {
            while free + 1u < EXPERTS && held[free] == capacity() {
                free += 1u;
            }
            bidders[b].y = free;
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
    var is_over = false;
    while !is_over {
        var is_unsold = collect_bids(increment, true, lane);
        while is_unsold && rounds > 0u {
            sell(lane);
            is_unsold = collect_bids(increment, false, lane);
            rounds -= 1u;
        }
        if is_unsold && lane == 0u {
            place_the_rest();
        }
        is_over = increment <= last || rounds == 0u;
        increment = max(last, increment * 0.2);
    }
    storageBarrier();
    workgroupBarrier();
    for (var row = lane; row < span.rows; row += WORKGROUP_SIZE) {
        let expert = bidders[row].y;
        expert_of_slot[row] = expert;
        weight_of_slot[row] = sigmoid(worth(row, expert));
    }
}
