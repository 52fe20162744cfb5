// Logits of four tokens by a workgroup, with what else reads the router's input: a lane has a row of the router's matrix, or a part
// of one where experts are fewer than lanes, and multiplies it with all four, which pass through workgroup memory.
// Needs: norm_prepare, norm_state, norm_resume, norm4 (norm/*), load4 (linear/input*), router_bias (router_bias/*), span,
// WORKGROUP_SIZE. Constants: LANE_ROWS.
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;        // [rows, logit_stride]
@group(0) @binding(10) var<storage, read> router: array<vec4<f32>>;       // [logit_stride, row_quads]
const TOKENS: u32 = 4u;
const PARTS: u32 = WORKGROUP_SIZE / LANE_ROWS;
const TILE_QUADS: u32 = WORKGROUP_SIZE / TOKENS;

var<workgroup> x_tile: array<vec4<f32>, WORKGROUP_SIZE>;    // [TOKENS, TILE_QUADS]
var<workgroup> partial: array<vec4<f32>, WORKGROUP_SIZE>;   // a sum for each token

fn compute_logits(first: u32, lane: u32) {
    // Each lane brings inputs of one token; beyond the last it is the last one again, and is not stored.
    let token = min(first + lane / TILE_QUADS, span.rows - 1u);
    var state = vec2<f32>();
    for (var t = 0u; t < TOKENS; t += 1u) {
        norm_prepare(min(first + t, span.rows - 1u), lane);
        if t == lane / TILE_QUADS {
            state = norm_state();
        }
    }
    norm_resume(state);
    let part = lane / LANE_ROWS;
    for (var base = 0u; base < params.logit_stride; base += LANE_ROWS) {
        let row = base + lane % LANE_ROWS;
        partial[lane] = products(token, min(row, params.logit_stride - 1u), part, lane);
        workgroupBarrier();
        if part == 0u && row < params.logit_stride {
            store_logits(first, row, lane);
        }
        workgroupBarrier();
    }
    storageBarrier();
    workgroupBarrier();
}

// A part of a row's products with the four tokens.
fn products(token: u32, row: u32, part: u32, lane: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var quad = 0u; quad < params.row_quads; quad += TILE_QUADS) {
        let own = quad + lane % TILE_QUADS;
        x_tile[lane] = norm4(load4(token, own), own);
        workgroupBarrier();
        let end = min(TILE_QUADS, params.row_quads - quad);
        for (var q = part; q < end; q += PARTS) {
            let weights = router[row * params.row_quads + quad + q];
            sum += vec4<f32>(
                dot(weights, x_tile[q]),
                dot(weights, x_tile[TILE_QUADS + q]),
                dot(weights, x_tile[2u * TILE_QUADS + q]),
                dot(weights, x_tile[3u * TILE_QUADS + q]),
            );
        }
        workgroupBarrier();
    }
    return sum;
}

fn store_logits(first: u32, row: u32, lane: u32) {
    var total = vec4<f32>();
    for (var part = 0u; part < PARTS; part += 1u) {
        total += partial[lane + part * LANE_ROWS];
    }
    for (var t = 0u; t < min(TOKENS, span.rows - first); t += 1u) {
        logits[(first + t) * params.logit_stride + row] = total[t] + router_bias(row);
    }
}
