// A gated product of which only the largest gates take part: y[r, j] = activate(max(gate[j] - cutoff, 0)) * up[j], where the cutoff
// leaves a share of them as if they were normally distributed (Gemma 3n). One workgroup per row.
// Needs: activate (activation/*), workgroup_sum (reduce/*), span. Constants: WORKGROUP_SIZE.
struct Params {
    width: u32,         // f
    deviations: f32,    // of the cutoff above the mean
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> pairs: array<f32>;               // [rows, f, 2]: gate, up
@group(0) @binding(3) var<storage, read_write> y: array<f32>;             // [rows, f]

fn gate(row: u32, j: u32) -> f32 {
    return pairs[2u * (row * params.width + j)];
}

fn run(row: u32, lane: u32) {
    if row >= span.rows {
        return;
    }
    var sum = 0.0;
    for (var j = lane; j < params.width; j += WORKGROUP_SIZE) {
        sum += gate(row, j);
    }
    let mean = workgroup_sum(sum, lane) / f32(params.width);
    var square = 0.0;
    for (var j = lane; j < params.width; j += WORKGROUP_SIZE) {
        let d = gate(row, j) - mean;
        square += d * d;
    }
    let cutoff = mean + params.deviations * sqrt(workgroup_sum(square, lane) / f32(params.width));
    for (var j = lane; j < params.width; j += WORKGROUP_SIZE) {
        let at = row * params.width + j;
        y[at] = activate(max(gate(row, j) - cutoff, 0.0)) * pairs[2u * at + 1u];
    }
}
