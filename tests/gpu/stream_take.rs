use wattle::kernels::stream_take::{StreamTake, StreamTakeParams};
use wattle::reference::altup::take;

use crate::harness::{Run, span};
use crate::support::random::Random;

#[test]
fn a_stream_is_taken() {
    for (rows, width, count, stream) in [(1, 1, 2, 1), (3, 65, 4, 2), (5, 64, 2, 0)] {
        let streams = Random::new(rows as u64).gaussian(rows * count * width);
        let params = StreamTakeParams { width: width as u32, count: count as u32, stream };
        let run = Run::new(StreamTake, params, span(2, rows), format_args!("{rows} rows"));
        let found = run.with("streams", &streams).out("y", rows * width).go();
        found.same("y", &take(&streams, count, width, stream as usize));
    }
}
