// One of A residual streams alone: y[r] = streams[r, stream]. One lane per element.
// Needs: span. Constants: WORKGROUP_SIZE.
struct Params {
    width: u32,     // d
    count: u32,     // A
    stream: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> streams: array<f32>;             // [rows, A, d]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;             // [rows, d]

fn run(workgroup: u32, lane: u32) {
    let i = workgroup * WORKGROUP_SIZE + lane;
    let row = i / params.width;
    if row >= span.rows {
        return;
    }
    y[i] = streams[(row * params.count + params.stream) * params.width + i % params.width];
}
