// Attention by streaming softmax (arXiv 2112.05682; 2205.14135): for each query q of a tile
//   z_s = softcap(scale q . k_s + score_bias), a = softmax over the visible s, o = sum_s a_s v_s.
// A workgroup takes up to QUERIES queries of a sequence that share a key/value head, (row, head) pairs row by row, and walks
// the keys that any of them sees, KEYS at a time. Masked scores are flagged by MASKED, a finite number.
// Needs: query_tile, key_row, key_at, value_at (keys/*), cache_row (cache/*), key_range, store_output (output/*), softcap
// (softcap/*), visible (reach/*), score_bias (score_bias/*), span.
// Constants: HEAD_DIM, QUERIES.
struct Params {
    heads: u32,
    kv_heads: u32,
    slots: u32,         // rows per head of a sequence's cache, or of a page
    pages: u32,         // that a sequence may have
    chunk_slots: u32,   // rows per head of a chunk's own keys
    reach: u32,         // tokens of a window or a chunk; 0: all before it
    split_keys: u32,    // keys per workgroup where the cache is split
    max_splits: u32,    // parts there can be
    scale: f32,
    softcap: f32,
    alibi_scale: f32,   // of score_bias/alibi
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> q: array<f32>;                   // [rows, H, HEAD_DIM]
const WORKGROUP_SIZE: u32 = 64u;
const KEYS: u32 = 32u;
const LANES_PER_QUERY: u32 = WORKGROUP_SIZE / QUERIES;
const KEYS_PER_LANE: u32 = KEYS / LANES_PER_QUERY;
const OUTPUTS_PER_LANE: u32 = (QUERIES * HEAD_DIM + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
const MASKED: f32 = -1e30;

struct KeyRange { first: u32, end: u32 }

// Queries of a key/value head, from `first` on of those that one of the call's sequences has, and which part of the keys.
struct QueryTile { own: u32, kv_head: u32, first: u32, count: u32, part: u32 }

var<workgroup> queries: array<f32, QUERIES * HEAD_DIM>;
var<workgroup> scores: array<f32, QUERIES * KEYS>;
var<workgroup> lane_part: array<f32, WORKGROUP_SIZE>;
var<workgroup> query_max: array<f32, QUERIES>;
var<workgroup> query_sum: array<f32, QUERIES>;
var<workgroup> query_rescale: array<f32, QUERIES>;

fn run(workgroup: u32, lane: u32) {
    let site = query_tile(workgroup);
    if site.count == 0u {
        return;
    }
    let per_head = params.heads / params.kv_heads;
    let own = span.each[site.own];
    let kv_head = site.kv_head;
    let first_query = site.first;
    let tile_count = site.count;
    let oldest = own.position + first_query / per_head;
    let newest = own.position + (first_query + tile_count - 1u) / per_head;
    let range = key_range(oldest, newest, site.part);
    if range.first >= range.end {
        return;
    }

    for (var i = lane; i < tile_count * HEAD_DIM; i += WORKGROUP_SIZE) {
        let query = first_query + i / HEAD_DIM;
        let at = (own.first_row + query / per_head) * params.heads + kv_head * per_head + query % per_head;
        queries[i] = q[at * HEAD_DIM + i % HEAD_DIM];
    }
    if lane < QUERIES {
        query_max[lane] = MASKED;
        query_sum[lane] = 0.0;
    }
    workgroupBarrier();

    let my_query = lane / LANES_PER_QUERY;
    let my_position = own.position + (first_query + my_query) / per_head;
    let my_head = kv_head * per_head + (first_query + my_query) % per_head;
    let my_first_key = (lane % LANES_PER_QUERY) * KEYS_PER_LANE;
    var acc = array<f32, OUTPUTS_PER_LANE>();
    for (var tile = range.first; tile < range.end; tile += KEYS) {
        // Scores: each lane some keys of one query.
        var part_max = MASKED;
        for (var j = 0u; j < KEYS_PER_LANE; j += 1u) {
            let position = tile + my_first_key + j;
            var z = MASKED;
            if my_query < tile_count && position < range.end && visible(my_position, position, params.reach) {
                let at = key_row(own, kv_head, position);
                var sum = 0.0;
                for (var d = 0u; d < HEAD_DIM; d += 1u) {
                    sum += queries[my_query * HEAD_DIM + d] * key_at(at, d);
                }
                z = softcap(sum * params.scale + score_bias(my_head, my_position, position));
            }
            scores[my_query * KEYS + my_first_key + j] = z;
            part_max = max(part_max, z);
        }
        lane_part[lane] = part_max;
        workgroupBarrier();

        // New maximum; scores become weights relative to it.
        let old_max = query_max[my_query];
        var new_max = old_max;
        for (var i = 0u; i < LANES_PER_QUERY; i += 1u) {
            new_max = max(new_max, lane_part[my_query * LANES_PER_QUERY + i]);
        }
        workgroupBarrier();
        var part_sum = 0.0;
        for (var j = 0u; j < KEYS_PER_LANE; j += 1u) {
            let at = my_query * KEYS + my_first_key + j;
            let z = scores[at];
            let weight = select(exp(z - new_max), 0.0, z == MASKED);
            scores[at] = weight;
            part_sum += weight;
        }
        lane_part[lane] = part_sum;
        workgroupBarrier();
        if lane % LANES_PER_QUERY == 0u {
            let rescale = exp(max(old_max - new_max, -80.0));
            var sum = query_sum[my_query] * rescale;
            for (var i = 0u; i < LANES_PER_QUERY; i += 1u) {
                sum += lane_part[lane + i];
            }
            query_sum[my_query] = sum;
            query_max[my_query] = new_max;
            query_rescale[my_query] = rescale;
        }
        workgroupBarrier();

        // Weighted values: each lane some (query, element) pairs.
        let keys = min(KEYS, range.end - tile);
        for (var n = 0u; n < OUTPUTS_PER_LANE; n += 1u) {
            let i = n * WORKGROUP_SIZE + lane;
            if i < tile_count * HEAD_DIM {
                let query = i / HEAD_DIM;
                var sum = acc[n] * query_rescale[query];
                for (var j = 0u; j < keys; j += 1u) {
                    sum += scores[query * KEYS + j] * value_at(key_row(own, kv_head, tile + j), i % HEAD_DIM);
                }
                acc[n] = sum;
            }
        }
        workgroupBarrier();
    }

    for (var n = 0u; n < OUTPUTS_PER_LANE; n += 1u) {
        let i = n * WORKGROUP_SIZE + lane;
        let query = first_query + i / HEAD_DIM;
        if i < tile_count * HEAD_DIM {
            let head = (own.first_row + query / per_head) * params.heads + kv_head * per_head + query % per_head;
            store_output(head, site.part, i % HEAD_DIM, acc[n], query_max[i / HEAD_DIM], query_sum[i / HEAD_DIM]);
        }
    }
}
