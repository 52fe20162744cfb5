// Alternating updates of A residual streams (AltUp, arXiv 2301.13310; Gemma 3n): what a router makes of one row of a token says how
// the token's streams change. One workgroup per row.
// Needs: COEFFICIENTS, FIRST, routed, change (altup/*), safe_tanh, workgroup_sum (reduce/*), span. Constants: STREAMS, WORKGROUP_SIZE.
struct Params {
    width: u32,             // d
    active_stream: u32,     // the one that sub-layers work on
    eps: f32,               // of the router's norm
    router_stride: u32,     // elements between two rows of the router
    mixing_stride: u32,     // and of the mixing matrix
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> streams: array<f32>;             // [rows, A, d]
@group(0) @binding(3) var<storage, read> router_norm: array<f32>;         // [d]
@group(0) @binding(4) var<storage, read> router: array<f32>;              // [A, router_stride]
@group(0) @binding(5) var<storage, read> mixing: array<f32>;              // [A A + A, mixing_stride]: predictions, then corrections
@group(0) @binding(6) var<storage, read_write> changed: array<f32>;       // [rows, A, d]
@group(0) @binding(7) var<storage, read_write> active_out: array<f32>;    // [rows, d]

var<private> routes: array<f32, STREAMS>;
var<private> coefficients: array<f32, COEFFICIENTS>;

fn stream_at(row: u32, stream: u32, k: u32) -> u32 {
    return (row * STREAMS + stream) * params.width + k;
}

fn run(row: u32, lane: u32) {
    if row >= span.rows {
        return;
    }
    var square = 0.0;
    for (var k = lane; k < params.width; k += WORKGROUP_SIZE) {
        let value = routed(row, k);
        square += value * value;
        for (var stream = 0u; stream < STREAMS; stream += 1u) {
            routes[stream] += value * router_norm[k] * router[stream * params.router_stride + k];
        }
    }
    let scale = inverseSqrt(workgroup_sum(square, lane) / f32(params.width) + params.eps);
    for (var stream = 0u; stream < STREAMS; stream += 1u) {
        routes[stream] = safe_tanh(scale * workgroup_sum(routes[stream], lane));
    }
    for (var c = 0u; c < COEFFICIENTS; c += 1u) {
        var sum = 0.0;
        for (var stream = 0u; stream < STREAMS; stream += 1u) {
            sum += mixing[(FIRST + c) * params.mixing_stride + stream] * routes[stream];
        }
        coefficients[c] = sum;
    }
    for (var k = lane; k < params.width; k += WORKGROUP_SIZE) {
        change(row, k);
    }
}
