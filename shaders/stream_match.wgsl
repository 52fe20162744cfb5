// Projections as large as what they are projections of: y[i] * rms(x) / rms(y[i]) beside x, and what becomes of the A of them
// (AltUp in Gemma 3n). One workgroup per row.
// Needs: store_streams (streams/*), workgroup_sum (reduce/*), span. Constants: STREAMS, WORKGROUP_SIZE.
struct Params {
    width: u32,         // d
    x_stride: u32,      // elements between two rows of x
    least_square: f32,  // the mean square of a projection counts as no less
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;                   // [rows, x_stride], d of each
@group(0) @binding(3) var<storage, read> projections: array<f32>;         // [rows, A - 1, d]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;             // [rows, A, d] or [rows, d]

var<private> factors: array<f32, STREAMS>;

fn matched(row: u32, stream: u32, k: u32) -> f32 {
    if stream == 0u {
        return x[row * params.x_stride + k];
    }
    return factors[stream] * projections[(row * (STREAMS - 1u) + stream - 1u) * params.width + k];
}

fn run(row: u32, lane: u32) {
    if row >= span.rows {
        return;
    }
    var size = 0.0;
    for (var stream = 0u; stream < STREAMS; stream += 1u) {
        factors[stream] = 1.0;
        var square = 0.0;
        for (var k = lane; k < params.width; k += WORKGROUP_SIZE) {
            let value = matched(row, stream, k);
            square += value * value;
        }
        let mean = workgroup_sum(square, lane) / f32(params.width);
        if stream == 0u {
            size = sqrt(mean);
        } else {
            factors[stream] = size / sqrt(max(mean, params.least_square));
        }
    }
    for (var k = lane; k < params.width; k += WORKGROUP_SIZE) {
        store_streams(row, k);
    }
}
