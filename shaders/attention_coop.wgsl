// Attention by streaming softmax (arXiv 2112.05682; 2205.14135) on cooperative matrices, for prompts: what attention.wgsl computes.
// A workgroup takes up to QUERIES queries of a sequence that share a key/value head, and walks the keys that any of them sees,
// KEYS at a time. Queries and keys pass through workgroup memory DEPTH elements at a time, and so do values; on their way they become
// f16, and so do the weights of values. Sums are f32. Of the subgroups, TEAMS multiply: of outputs, each has a column of
// matrices of every slice.
// Queries are multiplied by a power of two; keys and values beyond the range of f16 are cut off at its end (matrix/row_scale).
// Weights are relative to 2^power, a whole power for each query that begins 2^(15 - HEADROOM) below its largest weight and is raised
// before a weight would pass 2^15: few tiles of keys raise one, and sums are then divided by a power of two, which loses
// nothing. Queries beside one that is raised are multiplied by 1.
// Needs: MASKED, within, query_quad (attention/params), query_tile, key_row, key_quad (keys/*), value_at (values/*), key_range,
// store_output (output/*), softcap (softcap/*), visible (reach/*), score_bias (score_bias/*), span, Rows, Columns, Sums, SIDE
// (matrix/*), subgroup_index (entry/subgroup), exponent_for, power_of, inverse_power_of, cut_off (matrix/row_scale).
// Constants: HEAD_DIM, VALUE_DIM, QUERIES, KEYS, DEPTH, WORKGROUP_SIZE.
const QUADS: u32 = DEPTH / 4u;
const STRIDE: u32 = DEPTH + 8u;             // matrices are read from multiples of 16 bytes; 8 more spread the banks
const WEIGHT_STRIDE: u32 = KEYS + 8u;
const AREA: u32 = SIDE * SIDE;
const TEAMS: u32 = DEPTH / SIDE;
const QUERY_BLOCKS: u32 = QUERIES / SIDE;
const KEY_BLOCKS: u32 = KEYS / SIDE;
const TEAM_SCORES: u32 = QUERY_BLOCKS * KEY_BLOCKS / TEAMS;     // matrices of scores that a team has, one below the other
const VALUE_SLICES: u32 = (VALUE_DIM + DEPTH - 1u) / DEPTH;
const OUTPUTS: u32 = QUERY_BLOCKS * VALUE_SLICES;               // matrices of outputs that a team has
const QUERY_LANES: u32 = WORKGROUP_SIZE / QUERIES;
const LANE_KEYS: u32 = KEYS / QUERY_LANES;
const HEADROOM: f32 = 8.0;
const LOG2_E: f32 = 1.44269504;
const LN_2: f32 = 0.69314718;
const_assert QUERIES % SIDE == 0u && KEYS % SIDE == 0u && DEPTH % SIDE == 0u;
const_assert TEAMS % KEY_BLOCKS == 0u && QUERY_BLOCKS * KEY_BLOCKS % TEAMS == 0u;
const_assert KEYS % QUERY_LANES == 0u && KEYS <= WORKGROUP_SIZE && TEAMS * AREA <= QUERIES * KEYS && WEIGHT_STRIDE <= STRIDE;

var<workgroup> a_tile: array<f16, QUERIES * STRIDE>;        // a slice of queries; then the weights, WEIGHT_STRIDE apart
var<workgroup> b_tile: array<f16, KEYS * STRIDE>;           // a slice of keys, then of values
var<workgroup> sums: array<f32, QUERIES * KEYS>;            // scores; then a matrix of each team
var<workgroup> key_rows: array<u32, KEYS>;
var<workgroup> query_row: array<u32, QUERIES>;
var<workgroup> query_exponent: array<u32, QUERIES>;
var<workgroup> query_rescale: array<f32, QUERIES>;
var<workgroup> query_sum: array<f32, QUERIES>;
var<workgroup> query_power: array<f32, QUERIES>;
var<workgroup> lane_part: array<f32, WORKGROUP_SIZE>;
var<workgroup> is_raised: u32;

fn choose_scales(lane: u32) {
    let row = query_row[lane / QUERY_LANES];
    var most = vec4<f32>();
    for (var quad = lane % QUERY_LANES; 4u * quad < HEAD_DIM; quad += QUERY_LANES) {
        most = max(most, abs(within(query_quad(row, quad), quad)));
    }
    lane_part[lane] = max(max(most.x, most.y), max(most.z, most.w));
    workgroupBarrier();
    if lane < QUERIES {
        var of_query = 0.0;
        for (var i = 0u; i < QUERY_LANES; i += 1u) {
            of_query = max(of_query, lane_part[lane * QUERY_LANES + i]);
        }
        query_exponent[lane] = exponent_for(of_query);
    }
    workgroupBarrier();
}

fn fill_queries(first: u32, lane: u32) {
    for (var i = lane; i < QUERIES * QUADS; i += WORKGROUP_SIZE) {
        let query = i / QUADS;
        let quad = first / 4u + i % QUADS;
        var x4 = vec4<f16>();
        if 4u * quad < HEAD_DIM {
            x4 = vec4<f16>(power_of(query_exponent[query]) * within(query_quad(query_row[query], quad), quad));
        }
        let at = query * STRIDE + 4u * (i % QUADS);
        for (var j = 0u; j < 4u; j += 1u) {
            a_tile[at + j] = x4[j];
        }
    }
}

fn fill_keys(first: u32, lane: u32) {
    for (var i = lane; i < KEYS * QUADS; i += WORKGROUP_SIZE) {
        let key = i / QUADS;
        let quad = first / 4u + i % QUADS;
        var k4 = vec4<f32>();
        if 4u * quad < HEAD_DIM {
            k4 = within(key_quad(key_rows[key], quad), quad);
        }
        let at = key * STRIDE + 4u * (i % QUADS);
        for (var j = 0u; j < 4u; j += 1u) {
            b_tile[at + j] = f16(cut_off(k4[j]));
        }
    }
}

fn fill_values(first: u32, lane: u32) {
    for (var i = lane; i < KEYS * DEPTH; i += WORKGROUP_SIZE) {
        let d = first + i % DEPTH;
        var value = 0.0;
        if d < VALUE_DIM {
            value = cut_off(value_at(key_rows[i / DEPTH], d));
        }
        b_tile[i / DEPTH * STRIDE + i % DEPTH] = f16(value);
    }
}

fn run(workgroup: u32, lane: u32) {
    let site = query_tile(workgroup);
    let per_head = params.heads / params.kv_heads;
    let own = span.each[site.own];
    let kv_head = site.kv_head;
    let last = site.first + max(site.count, 1u) - 1u;
    let range = key_range(own.position + site.first / per_head, own.position + last / per_head, site.part);
    // A workgroup without queries walks no keys; naga takes no return before matrices.
    let end = select(range.end, range.first, site.count == 0u);

    // Queries beyond the last have its row.
    for (var i = lane; i < QUERIES; i += WORKGROUP_SIZE) {
        let query = min(site.first + i, last);
        query_row[i] = (own.first_row + query / per_head) * params.heads + kv_head * per_head + query % per_head;
    }
    workgroupBarrier();
    choose_scales(lane);

    let team = subgroup_index;
    let has_work = team < TEAMS;
    let key_block = team % KEY_BLOCKS;
    let query_block = team / KEY_BLOCKS * TEAM_SCORES;
    let my_query = lane / QUERY_LANES;
    let at_query = site.first + my_query;
    let head = kv_head * per_head + at_query % per_head;
    let query_position = own.position + at_query / per_head;
    var my_power = MASKED;
    var my_sum = 0.0;
    var outputs = array<Sums, OUTPUTS>();
    for (var tile = range.first; tile < end; tile += KEYS) {
        // Keys beyond the last are masked; they have its row.
        if lane < KEYS {
            key_rows[lane] = key_row(own, kv_head, min(tile + lane, end - 1u));
        }
        workgroupBarrier();

        var scores = array<Sums, TEAM_SCORES>();
        for (var first = 0u; first < HEAD_DIM; first += DEPTH) {
            fill_queries(first, lane);
            fill_keys(first, lane);
            workgroupBarrier();
            for (var k = 0u; k < min(DEPTH, HEAD_DIM - first) && has_work; k += SIDE) {
                // naga loses an index or a stride that has no name of its own.
                let stride = STRIDE;
                let b_at = SIDE * key_block * STRIDE + k;
                let b = coopLoad<Columns>(&b_tile[b_at], stride);
                for (var n = 0u; n < TEAM_SCORES; n += 1u) {
                    let a_at = SIDE * (query_block + n) * STRIDE + k;
                    let a = coopLoadT<Rows>(&a_tile[a_at], stride);
                    scores[n] = coopMultiplyAdd(a, b, scores[n]);
                }
            }
            workgroupBarrier();
        }
        for (var n = 0u; n < TEAM_SCORES && has_work; n += 1u) {
            let stride = KEYS;
            let at = SIDE * ((query_block + n) * KEYS + key_block);
            coopStoreT(scores[n], &sums[at], stride);
        }
        workgroupBarrier();

        // Scores become weights relative to a power of two.
        let unscale = inverse_power_of(query_exponent[my_query]) * params.scale;
        var z = array<f32, LANE_KEYS>();
        var most = MASKED;
        for (var j = 0u; j < LANE_KEYS; j += 1u) {
            let key = lane % QUERY_LANES + j * QUERY_LANES;
            let position = tile + key;
            let score = softcap(sums[my_query * KEYS + key] * unscale + score_bias(head, query_position, position));
            let is_seen = my_query < site.count && position < end && visible(query_position, position, params.reach);
            z[j] = select(MASKED, score, is_seen);
            most = max(most, z[j]);
        }
        lane_part[lane] = most;
        workgroupBarrier();
        for (var i = 0u; i < QUERY_LANES; i += 1u) {
            most = max(most, lane_part[my_query * QUERY_LANES + i]);
        }
        let power = ceil(most * LOG2_E) - (15.0 - HEADROOM);
        var rescale = 1.0;
        if most != MASKED && power > my_power + HEADROOM {
            rescale = select(ldexp(1.0, i32(max(my_power - power, -126.0))), 1.0, my_power == MASKED);
            my_power = power;
        }
        my_sum *= rescale;
        for (var j = 0u; j < LANE_KEYS; j += 1u) {
            let weight = f16(select(exp2(max(z[j] * LOG2_E - my_power, -126.0)), 0.0, z[j] == MASKED));
            a_tile[my_query * WEIGHT_STRIDE + lane % QUERY_LANES + j * QUERY_LANES] = weight;
            my_sum += f32(weight);
        }
        if lane % QUERY_LANES == 0u {
            query_rescale[my_query] = rescale;
        }
        workgroupBarrier();
        if lane == 0u {
            var least = 1.0;
            for (var i = 0u; i < QUERIES; i += 1u) {
                least = min(least, query_rescale[i]);
            }
            is_raised = u32(least < 1.0);
        }
        if workgroupUniformLoad(&is_raised) != 0u {
            // A matrix of each team at a time, through workgroup memory.
            for (var m = 0u; m < OUTPUTS; m += 1u) {
                let stride = SIDE;
                let at = min(team, TEAMS - 1u) * AREA;
                if has_work {
                    coopStoreT(outputs[m], &sums[at], stride);
                }
                workgroupBarrier();
                for (var i = lane; i < TEAMS * AREA; i += WORKGROUP_SIZE) {
                    sums[i] *= query_rescale[SIDE * (m % QUERY_BLOCKS) + i % AREA / SIDE];
                }
                workgroupBarrier();
                // naga takes no load within a condition; what subgroups without work have is never stored.
                outputs[m] = coopLoadT<Sums>(&sums[at], stride);
                workgroupBarrier();
            }
        }

        for (var slice = 0u; slice < VALUE_SLICES; slice += 1u) {
            fill_values(slice * DEPTH, lane);
            workgroupBarrier();
            for (var k = 0u; k < KEYS && has_work && slice * DEPTH + SIDE * team < VALUE_DIM; k += SIDE) {
                let stride = STRIDE;
                let weight_stride = WEIGHT_STRIDE;
                let b_at = k * STRIDE + SIDE * team;
                let b = coopLoadT<Columns>(&b_tile[b_at], stride);
                for (var m = 0u; m < QUERY_BLOCKS; m += 1u) {
                    let a_at = SIDE * m * WEIGHT_STRIDE + k;
                    let a = coopLoadT<Rows>(&a_tile[a_at], weight_stride);
                    outputs[slice * QUERY_BLOCKS + m] = coopMultiplyAdd(a, b, outputs[slice * QUERY_BLOCKS + m]);
                }
            }
            workgroupBarrier();
        }
    }

    lane_part[lane] = my_sum;
    if lane % QUERY_LANES == 0u {
        query_power[my_query] = my_power;
    }
    workgroupBarrier();
    if lane < QUERIES {
        var sum = 0.0;
        for (var i = 0u; i < QUERY_LANES; i += 1u) {
            sum += lane_part[lane * QUERY_LANES + i];
        }
        query_sum[lane] = sum;
    }
    for (var m = 0u; m < OUTPUTS; m += 1u) {
        if has_work {
            let stride = SIDE;
            let at = team * AREA;
            coopStoreT(outputs[m], &sums[at], stride);
        }
        workgroupBarrier();
        for (var i = lane; i < TEAMS * AREA && range.first < end; i += WORKGROUP_SIZE) {
            let query = SIDE * (m % QUERY_BLOCKS) + i % AREA / SIDE;
            let d = m / QUERY_BLOCKS * DEPTH + i / AREA * SIDE + i % SIDE;
            if query < site.count && d < VALUE_DIM {
                store_output(query_row[query], site.part, d, sums[i], query_power[query] * LN_2, query_sum[query]);
            }
        }
        workgroupBarrier();
    }
}
