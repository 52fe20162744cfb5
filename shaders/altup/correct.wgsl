// Every prediction goes as far towards what the layer has made of the active one as the router says, which reads the latter.
// Needs: streams, coefficients, changed, active_out, stream_at, params.active_stream, stream_scale (stream_scale/*). Constants: STREAMS.
@group(0) @binding(8) var<storage, read> activated: array<f32>;           // [rows, d]
const COEFFICIENTS: u32 = STREAMS;
const FIRST: u32 = STREAMS * STREAMS;

fn routed(row: u32, k: u32) -> f32 {
    return activated[row * params.width + k];
}

fn change(row: u32, k: u32) {
    let innovation = routed(row, k) - streams[stream_at(row, params.active_stream, k)];
    for (var stream = 0u; stream < STREAMS; stream += 1u) {
        let at = stream_at(row, stream, k);
        let value = streams[at] + (1.0 + coefficients[stream]) * innovation;
        changed[at] = value;
        if stream == params.active_stream {
            active_out[row * params.width + k] = value * stream_scale(k);
        }
    }
}
