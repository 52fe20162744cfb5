// Attention by streaming softmax (arXiv 2112.05682; 2205.14135): for each query q of a tile
//   z_s = softcap(scale q . k_s + score_bias), a = softmax over the visible s, o = sum_s a_s v_s.
// A workgroup takes up to QUERIES queries of a sequence that share a key/value head, (row, head) pairs row by row, and walks
// the keys that any of them sees, KEYS at a time: for all of its queries a key is read once, and a value
// by as many lanes as share its elements, at the same time.
// Scores: a lane has SCORE_KEYS keys and SCORE_QUERIES queries, whose elements pass through workgroup memory. Softmax:
// LANES_PER_QUERY lanes have a query. Outputs: a lane has ELEMENTS elements of OUTPUT_QUERIES queries. Masked scores are
// flagged by MASKED, a finite number.
// Needs: MASKED, within, query_quad (attention/params), query_tile, key_row, key_quad (keys/*), value_at (values/*), key_range,
// store_output (output/*), softcap (softcap/*), visible (reach/*), score_bias (score_bias/*), span.
// Constants: HEAD_DIM, VALUE_DIM, QUERIES, KEYS, WORKGROUP_SIZE, SLICE_QUADS, SCORE_KEYS, VALUE_LANES.
const KEY_LANES: u32 = KEYS / SCORE_KEYS;
const SCORE_QUERIES: u32 = QUERIES * KEY_LANES / WORKGROUP_SIZE;
const LANES_PER_QUERY: u32 = min(WORKGROUP_SIZE / QUERIES, 8u);
const KEYS_PER_LANE: u32 = KEYS / LANES_PER_QUERY;
const OUTPUT_QUERIES: u32 = QUERIES * VALUE_LANES / WORKGROUP_SIZE;
const ELEMENTS: u32 = (VALUE_DIM + VALUE_LANES - 1u) / VALUE_LANES;

var<workgroup> key_rows: array<u32, KEYS>;
var<workgroup> key_slice: array<vec4<f32>, SLICE_QUADS * KEYS>;
var<workgroup> query_slice: array<vec4<f32>, SLICE_QUADS * QUERIES>;
var<workgroup> query_row: array<u32, QUERIES>;
var<workgroup> scores: array<f32, QUERIES * KEYS>;
var<workgroup> lane_part: array<f32, QUERIES * LANES_PER_QUERY>;
var<workgroup> query_max: array<f32, QUERIES>;
var<workgroup> query_rescale: array<f32, QUERIES>;

fn run(workgroup: u32, lane: u32) {
    let site = query_tile(workgroup);
    if site.count == 0u {
        return;
    }
    let per_head = params.heads / params.kv_heads;
    let own = span.each[site.own];
    let kv_head = site.kv_head;
    let oldest = own.position + site.first / per_head;
    let newest = own.position + (site.first + site.count - 1u) / per_head;
    let range = key_range(oldest, newest, site.part);
    if range.first >= range.end {
        return;
    }

    // Queries beyond the last have its row.
    for (var i = lane; i < QUERIES; i += WORKGROUP_SIZE) {
        let query = site.first + min(i, site.count - 1u);
        query_row[i] = (own.first_row + query / per_head) * params.heads + kv_head * per_head + query % per_head;
    }

    // What a lane has of scores, of the softmax, and of outputs. Of a tile that is not full, the rest is skipped.
    let first_key = lane % KEY_LANES;
    let first_score = lane / KEY_LANES * SCORE_QUERIES;
    let my_query = lane / LANES_PER_QUERY;
    let has_query = my_query < QUERIES;
    let first_weight = my_query * KEYS + lane % LANES_PER_QUERY * KEYS_PER_LANE;
    let first_output = lane / VALUE_LANES * OUTPUT_QUERIES;
    var my_max = MASKED;
    var my_sum = 0.0;
    var acc = array<f32, OUTPUT_QUERIES * ELEMENTS>();
    for (var tile = range.first; tile < range.end; tile += KEYS) {
        // Keys beyond the last are masked; they have its row.
        if lane < KEYS {
            key_rows[lane] = key_row(own, kv_head, min(tile + lane, range.end - 1u));
        }
        workgroupBarrier();

        var z = array<f32, SCORE_QUERIES * SCORE_KEYS>();
        for (var first_quad = 0u; 4u * first_quad < HEAD_DIM; first_quad += SLICE_QUADS) {
            for (var i = lane; i < SLICE_QUADS * KEYS; i += WORKGROUP_SIZE) {
                let key = i / SLICE_QUADS;
                let quad = first_quad + i % SLICE_QUADS;
                key_slice[i % SLICE_QUADS * KEYS + key] = within(key_quad(key_rows[key], quad), quad);
            }
            for (var i = lane; i < SLICE_QUADS * QUERIES; i += WORKGROUP_SIZE) {
                let query = i / SLICE_QUADS;
                let quad = first_quad + i % SLICE_QUADS;
                query_slice[i % SLICE_QUADS * QUERIES + query] = within(query_quad(query_row[query], quad), quad);
            }
            workgroupBarrier();
            for (var quad = 0u; quad < SLICE_QUADS; quad += 1u) {
                var keys = array<vec4<f32>, SCORE_KEYS>();
                for (var k = 0u; k < SCORE_KEYS; k += 1u) {
                    keys[k] = key_slice[quad * KEYS + first_key + k * KEY_LANES];
                }
                for (var n = 0u; n < SCORE_QUERIES; n += 1u) {
                    let query = query_slice[quad * QUERIES + first_score + n];
                    if first_score + n < site.count {
                        for (var k = 0u; k < SCORE_KEYS; k += 1u) {
                            z[n * SCORE_KEYS + k] += dot(query, keys[k]);
                        }
                    }
                }
            }
            workgroupBarrier();
        }
        for (var n = 0u; n < SCORE_QUERIES; n += 1u) {
            let query = first_score + n;
            let at = site.first + query;
            let head = kv_head * per_head + at % per_head;
            let query_position = own.position + at / per_head;
            for (var k = 0u; k < SCORE_KEYS; k += 1u) {
                let key = first_key + k * KEY_LANES;
                let position = tile + key;
                let score = softcap(z[n * SCORE_KEYS + k] * params.scale + score_bias(head, query_position, position));
                let is_seen = query < site.count && position < range.end && visible(query_position, position, params.reach);
                scores[query * KEYS + key] = select(MASKED, score, is_seen);
            }
        }
        workgroupBarrier();

        // New maximum; scores become weights relative to it.
        if has_query {
            var part_max = MASKED;
            for (var j = 0u; j < KEYS_PER_LANE; j += 1u) {
                part_max = max(part_max, scores[first_weight + j]);
            }
            lane_part[lane] = part_max;
        }
        workgroupBarrier();
        if has_query {
            let old_max = my_max;
            for (var i = 0u; i < LANES_PER_QUERY; i += 1u) {
                my_max = max(my_max, lane_part[my_query * LANES_PER_QUERY + i]);
            }
            let rescale = exp(max(old_max - my_max, -80.0));
            my_sum *= rescale;
            for (var j = 0u; j < KEYS_PER_LANE; j += 1u) {
                let score = scores[first_weight + j];
                let weight = select(exp(score - my_max), 0.0, score == MASKED);
                scores[first_weight + j] = weight;
                my_sum += weight;
            }
            if lane % LANES_PER_QUERY == 0u {
                query_rescale[my_query] = rescale;
            }
        }
        workgroupBarrier();

        for (var n = 0u; n < OUTPUT_QUERIES; n += 1u) {
            let rescale = query_rescale[first_output + n];
            for (var e = 0u; e < ELEMENTS; e += 1u) {
                acc[n * ELEMENTS + e] *= rescale;
            }
        }
        for (var j = 0u; j < min(KEYS, range.end - tile); j += 4u) {
            var values = array<vec4<f32>, ELEMENTS>();
            for (var e = 0u; e < ELEMENTS; e += 1u) {
                let d = min(lane % VALUE_LANES + e * VALUE_LANES, VALUE_DIM - 1u);
                values[e] = vec4<f32>(
                    value_at(key_rows[j], d),
                    value_at(key_rows[j + 1u], d),
                    value_at(key_rows[j + 2u], d),
                    value_at(key_rows[j + 3u], d),
                );
            }
            for (var n = 0u; n < OUTPUT_QUERIES; n += 1u) {
                let at = (first_output + n) * KEYS + j;
                let weights = vec4<f32>(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]);
                if first_output + n < site.count {
                    for (var e = 0u; e < ELEMENTS; e += 1u) {
                        acc[n * ELEMENTS + e] += dot(weights, values[e]);
                    }
                }
            }
        }
        workgroupBarrier();
    }

    if has_query {
        lane_part[lane] = my_sum;
        if lane % LANES_PER_QUERY == 0u {
            query_max[my_query] = my_max;
        }
    }
    workgroupBarrier();
    for (var n = 0u; n < OUTPUT_QUERIES; n += 1u) {
        let query = first_output + n;
        if query < site.count {
            var sum = 0.0;
            for (var i = 0u; i < LANES_PER_QUERY; i += 1u) {
                sum += lane_part[query * LANES_PER_QUERY + i];
            }
            for (var e = 0u; e < ELEMENTS; e += 1u) {
                let d = lane % VALUE_LANES + e * VALUE_LANES;
                if d < VALUE_DIM {
                    store_output(query_row[query], site.part, d, acc[n * ELEMENTS + e], query_max[query], sum);
                }
            }
        }
    }
}
