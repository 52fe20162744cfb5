// Experts are auctioned to tokens, so that each takes as many (arXiv 2103.16716, section 3.1; Bertsekas and Castanon, "The auction
// algorithm for the transportation problem", 1989). A bidder without an expert bids for the one it gains most from; each
// expert takes the highest bid of a round, for its lowest when it is full. Increments fall by factors of 5.
// One workgroup; lanes stride over the bidders (tokens, and what fills the experts up), then over the experts.
// Needs: sigmoid (common/sigmoid), span. Constants: EXPERTS.
struct Params { logit_stride: u32, epsilon: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;              // [rows, logit_stride]
@group(0) @binding(3) var<storage, read_write> bidders: array<vec4<u32>>; // [EXPERTS capacity]: expert, wanted, bid, 0
@group(0) @binding(4) var<storage, read_write> expert_of_slot: array<u32>;    // [rows]
@group(0) @binding(5) var<storage, read_write> weight_of_slot: array<f32>;    // [rows]
const WORKGROUP_SIZE: u32 = 256u;
const NONE: u32 = 0xffffffffu;
const LARGE: f32 = 3.2e38;

var<workgroup> prices: array<f32, EXPERTS>;
var<workgroup> held: array<u32, EXPERTS>;
var<workgroup> ranges: array<vec2<f32>, WORKGROUP_SIZE>;    // least and largest logit of a lane, then of all
var<workgroup> open: array<u32, WORKGROUP_SIZE>;            // bidders of a lane without an expert
var<workgroup> any_open: u32;

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
    if lane == 0u {
        for (var i = 1u; i < WORKGROUP_SIZE; i += 1u) {
            range = vec2<f32>(min(range.x, ranges[i].x), max(range.y, ranges[i].y));
        }
        ranges[0] = select(vec2<f32>(), range, range.x <= range.y);
    }
    workgroupBarrier();
}

// What an expert is worth to a bidder. Those beyond the tokens are indifferent.
fn worth(bidder: u32, expert: u32) -> f32 {
    if bidder >= span.rows {
        return 0.0;
    }
    let logit = logits[bidder * params.logit_stride + expert];
    let is_high = bitcast<u32>(logit) == 0x7f800000u;
    let beyond = select(ranges[0].x - 1.0, ranges[0].y + 1.0, is_high);
    return select(beyond, logit, is_finite(logit));
}

fn reopen(lane: u32) {
    for (var b = lane; b < EXPERTS * capacity(); b += WORKGROUP_SIZE) {
        bidders[b] = vec4<u32>(NONE, NONE, 0u, 0u);
    }
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        held[e] = 0u;
    }
    storageBarrier();
    workgroupBarrier();
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
    return vec4<u32>(NONE, best, bitcast<u32>(prices[best] + margin + increment), 0u);
}

// All bids of a round; whether there are any.
fn collect_bids(increment: f32, lane: u32) -> bool {
    var count = 0u;
    for (var b = lane; b < EXPERTS * capacity(); b += WORKGROUP_SIZE) {
        if bidders[b].x == NONE {
            bidders[b] = bid(b, increment);
            count += 1u;
        }
    }
    open[lane] = count;
    storageBarrier();
    workgroupBarrier();
    if lane == 0u {
        var total = 0u;
        for (var i = 0u; i < WORKGROUP_SIZE; i += 1u) {
            total += open[i];
        }
        any_open = total;
    }
    return workgroupUniformLoad(&any_open) > 0u;
}

// The highest bid gets a place of the expert. When that fills it, or it was full, the lowest bid is its price.
fn sell(expert: u32) {
    var winner = NONE;
    var most = -LARGE;
    var loser = NONE;
    var least = LARGE;
    for (var b = 0u; b < EXPERTS * capacity(); b += 1u) {
        let bidder = bidders[b];
        let offer = bitcast<f32>(bidder.z);
        if bidder.x == NONE && bidder.y == expert && offer > most {
            most = offer;
            winner = b;
        }
        if bidder.x == expert && offer < least {
            least = offer;
            loser = b;
        }
    }
    if winner == NONE {
        return;
    }
    let is_full = held[expert] == capacity();
    if is_full {
        bidders[loser].x = NONE;
    } else {
        held[expert] += 1u;
    }
    bidders[winner].x = expert;
    if held[expert] == capacity() {
        prices[expert] = max(prices[expert], lowest_bid(expert));
    }
}

fn lowest_bid(expert: u32) -> f32 {
    var least = LARGE;
    for (var b = 0u; b < EXPERTS * capacity(); b += 1u) {
        if bidders[b].x == expert {
            least = min(least, bitcast<f32>(bidders[b].z));
        }
    }
    return least;
}

// Should the rounds have run out, what is left goes to the first experts with room.
fn place_the_rest() {
    var free = 0u;
    for (var b = 0u; b < EXPERTS * capacity(); b += 1u) {
        if bidders[b].x == NONE {
            while free + 1u < EXPERTS && held[free] == capacity() {
                free += 1u;
            }
            bidders[b].x = free;
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
    }
    find_range(lane);
    let range = ranges[0].y - ranges[0].x;
    let last = max(params.epsilon, range * 0.000003814697265625);
    var increment = max(last, range * 0.25);
    var rounds = 20000u + 200u * span.rows;
    var is_last = false;
    while !is_last {
        is_last = increment <= last;
        reopen(lane);
        while rounds > 0u && collect_bids(increment, lane) {
            for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
                sell(e);
            }
            storageBarrier();
            workgroupBarrier();
            rounds -= 1u;
        }
        increment = max(last, increment * 0.2);
    }
    if lane == 0u {
        place_the_rest();
    }
    storageBarrier();
    workgroupBarrier();
    for (var row = lane; row < span.rows; row += WORKGROUP_SIZE) {
        let expert = bidders[row].x;
        expert_of_slot[row] = expert;
        weight_of_slot[row] = sigmoid(worth(row, expert));
    }
}
