// Streams side by side. Needs: matched, y, params.width. Constants: STREAMS.
fn store_streams(row: u32, k: u32) {
    for (var stream = 0u; stream < STREAMS; stream += 1u) {
        y[(row * STREAMS + stream) * params.width + k] = matched(row, stream, k);
    }
}
