// What a layer is expected to make of each stream: itself and a mixture of all. The router reads the active one.
// Needs: streams, coefficients, changed, active_out, stream_at, params.active_stream. Constants: STREAMS.
const COEFFICIENTS: u32 = STREAMS * STREAMS;
const FIRST: u32 = 0u;

fn routed(row: u32, k: u32) -> f32 {
    return streams[stream_at(row, params.active_stream, k)];
}

fn change(row: u32, k: u32) {
    for (var to = 0u; to < STREAMS; to += 1u) {
        var sum = streams[stream_at(row, to, k)];
        for (var stream = 0u; stream < STREAMS; stream += 1u) {
            sum += coefficients[to * STREAMS + stream] * streams[stream_at(row, stream, k)];
        }
        changed[stream_at(row, to, k)] = sum;
        if to == params.active_stream {
            active_out[row * params.width + k] = sum;
        }
    }
}
