// Streams joined. Needs: matched, y, params.width. Constants: STREAMS.
fn store_streams(row: u32, k: u32) {
    var sum = 0.0;
    for (var stream = 0u; stream < STREAMS; stream += 1u) {
        sum += matched(row, stream, k);
    }
    y[row * params.width + k] = sum / f32(STREAMS);
}
