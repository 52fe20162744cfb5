// Sorts tokens by their largest weight, largest first, ties to the earlier token. Weights not above 0 are alike.
// A workgroup ranks 256 slots' tokens, four to a lane, so that each key that is read is compared four times; where a token has
// several slots, as many lanes share its rank, each of which compares with a part of the keys.
// Needs: span. Constants: WORKGROUP_SIZE.
struct Params { choices: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> weight_of_slot: array<f32>;      // [rows, choices]
@group(0) @binding(3) var<storage, read_write> token_of_rank: array<u32>; // [rows]

var<workgroup> keys: array<vec4<u32>, WORKGROUP_SIZE>;
var<workgroup> part_ranks: array<vec4<u32>, WORKGROUP_SIZE>;

// Bits of a token's largest weight; those of numbers above 0 sort as they do. Tokens after the last come after all others.
fn key(token: u32) -> u32 {
    if token >= span.rows {
        return 0u;
    }
    var most = 0.0;
    for (var choice = 0u; choice < params.choices; choice += 1u) {
        most = max(most, weight_of_slot[token * params.choices + choice]);
    }
    return select(0u, bitcast<u32>(most), most > 0.0);
}

fn four_keys(token: u32) -> vec4<u32> {
    return vec4<u32>(key(token), key(token + 1u), key(token + 2u), key(token + 3u));
}

// How many of the keys `begin`, `begin` + `step`, ... of a tile that begins at token `first` come before the four from `token` on.
fn ranks(own: vec4<u32>, token: u32, first: u32, begin: u32, step: u32) -> vec4<u32> {
    var rank = vec4<u32>();
    let length = min(WORKGROUP_SIZE, (span.rows - first + 3u) / 4u);
    for (var i = begin; i < length; i += step) {
        let other = keys[i];
        // An equal key counts only of earlier tokens.
        let least = own + u32(first + 4u * i >= token);
        rank += vec4<u32>(other.xxxx >= least) + vec4<u32>(other.yyyy >= least);
        rank += vec4<u32>(other.zzzz >= least) + vec4<u32>(other.wwww >= least);
    }
    return rank;
}

fn run(workgroup: u32, lane: u32) {
    // The power of two that is not below the choices.
    let parts = min(1u << (32u - countLeadingZeros(params.choices - 1u)), WORKGROUP_SIZE);
    let fours = WORKGROUP_SIZE / parts;
    if 4u * workgroup * fours >= span.rows {
        return;
    }
    let token = 4u * (workgroup * fours + lane % fours);
    let own = four_keys(token);
    var rank = vec4<u32>();
    for (var first = 0u; first < span.rows; first += 4u * WORKGROUP_SIZE) {
        keys[lane] = four_keys(first + 4u * lane);
        workgroupBarrier();
        rank += ranks(own, token, first, lane / fours, parts);
        workgroupBarrier();
    }
    part_ranks[lane] = rank;
    workgroupBarrier();
    if lane >= fours {
        return;
    }
    for (var part = 1u; part < parts; part += 1u) {
        rank += part_ranks[part * fours + lane];
    }
    // Of the four themselves.
    rank.y += u32(own.x == own.y);
    rank.z += u32(own.x == own.z) + u32(own.y == own.z);
    rank.w += u32(own.x == own.w) + u32(own.y == own.w) + u32(own.z == own.w);
    for (var i = 0u; i < 4u && token + i < span.rows; i += 1u) {
        token_of_rank[rank[i]] = token + i;
    }
}
