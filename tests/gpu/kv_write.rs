use wattle::fragments::{CacheFormat, CacheRows, CacheSlots};
use wattle::kernel::SequenceSpan;
use wattle::kernels::kv_write::{KvWrite, KvWriteParams};

use crate::harness::{Run, span};
use crate::keys::{packed, storing_tolerances, unpacked};
use crate::support::compare::{Tolerance, assert_close};
use crate::support::random::Random;

/// Pages in the test's pool.
const PAGES: usize = 8;

/// Where in the cache, counted in heads' slots, a position of a sequence goes. Pages are given out in turn.
fn slot(params: &KvWriteParams, cache: CacheSlots, sequence: usize, head: usize, position: usize) -> usize {
    let (heads, slots) = (params.kv_heads as usize, params.slots as usize);
    let part = match cache {
        CacheSlots::Own => sequence,
        CacheSlots::Paged => page(sequence, position / slots),
    };
    (part * heads + head) * slots + position % slots
}

/// Of two sequences, whose pages lie in turn.
fn page(sequence: usize, at: usize) -> usize {
    (2 * at + sequence) % PAGES
}

/// The rows of a cache after those of each of some spans went to their slots one after the other, and how exactly.
fn written(
    before: &[f32],
    chunk: &[f32],
    (variant, params): (KvWrite, &KvWriteParams),
    spans: &[SequenceSpan],
) -> [Vec<f32>; 2] {
    let width = variant.head_dim as usize;
    let [mut rows, mut tolerances] = [before.to_vec(), vec![0.0; before.len()]];
    for (head, chunk) in chunk.chunks(params.chunk_slots as usize * width).enumerate() {
        for span in spans {
            for row in 0..span.rows {
                let (sequence, position) = (span.sequence as usize, (span.position + row) as usize);
                let at = slot(params, variant.cache.slots, sequence, head, position) * width;
                let from = &chunk[(span.first_row + row) as usize * width..][..width];
                rows[at..][..width].copy_from_slice(from);
                let off = storing_tolerances(variant.cache.format, from, width);
                tolerances[at..][..width].copy_from_slice(&off);
            }
        }
    }
    [rows, tolerances]
}

#[test]
fn rows_go_to_their_slots() {
    // Heads, width, slots, rows a chunk may have, position, rows.
    for (seed, (kv_heads, head_dim, slots, chunk_slots, position, rows)) in [
        (1, 1, 1, 1, 0usize, 1usize),
        (1, 64, 40, 16, 0, 16),
        (3, 10, 40, 16, 20, 11),
        (2, 16, 8, 16, 5, 3),
        (2, 16, 8, 16, 5, 4),
        (2, 5, 8, 8, 15, 8),
        (2, 65, 7, 33, 100, 33),
        (1, 3, 1, 5, 9, 5),
        (4, 80, 3, 2, 4_000_000, 2),
    ]
    .into_iter()
    .enumerate()
    {
        for cache in CacheRows::all() {
            let paged = cache.slots == CacheSlots::Paged;
            let pages = if paged { (position + rows) / slots + 1 } else { 0 };
            // Of the second sequence first, and of the first one what is left.
            let count = rows.div_ceil(2);
            let second = SequenceSpan { sequence: 1, ..span(position, count).into() };
            let left = SequenceSpan { first_row: second.rows, ..span(position / 2, rows - count).into() };
            let spans = if left.rows > 0 { vec![second, left] } else { vec![second] };
            let [kv_heads, head_dim, slots, chunk_slots] =
                [kv_heads, head_dim, slots, chunk_slots].map(|n| n as u32);
            let params = KvWriteParams { kv_heads, slots, pages: pages as u32, chunk_slots };
            let variant = KvWrite { head_dim, cache, values: true };
            let mut random = Random::new(seed as u64);
            let mut pair =
                |rows: u32| [(); 2].map(|()| random.gaussian((kv_heads * rows * head_dim) as usize));
            let parts = if paged { PAGES as u32 } else { 2 };
            let (chunks, caches) = (pair(chunk_slots), pair(parts * slots));
            let run = Run::new(variant, params, span(position, rows), format_args!("seed {seed}"));
            let run = run.sequences(spans.clone()).with("k_chunk", &chunks[0]).with("v_chunk", &chunks[1]);
            let table: Vec<u32> =
                (0..2).flat_map(|sequence| (0..pages).map(move |at| page(sequence, at) as u32)).collect();
            let run = if paged { run.with("page_table", &table) } else { run };
            let width = head_dim as usize;
            let before = caches.map(|rows| packed(cache.format, &rows, width));
            let found = run.with("k_out", &before[0]).with("v_out", &before[1]).go();
            for (n, name) in ["k_out", "v_out"].into_iter().enumerate() {
                let before = unpacked(cache.format, &before[n], width);
                let [rows, tolerances] = written(&before, &chunks[n], (variant, &params), &spans);
                let stored = unpacked(cache.format, found.words(name), width);
                let what = format!("{} {name}", found.what());
                assert_close(&what, &stored, &rows, Tolerance::Each(&tolerances));
            }
        }
    }
}

/// Of latents there are keys alone.
#[test]
fn keys_that_hold_values_are_written_alone() {
    let params = KvWriteParams { kv_heads: 1, slots: 9, pages: 0, chunk_slots: 5 };
    for format in CacheFormat::ALL {
        let cache = CacheRows { format, ..CacheRows::PLAIN };
        let variant = KvWrite { head_dim: 22, cache, values: false };
        let mut random = Random::new(5);
        let (chunk, before) = (random.gaussian(5 * 22), packed(format, &random.gaussian(9 * 22), 22));
        let spans = [span(6, 4).into()];
        let run = Run::new(variant, params, span(6, 4), "latents").with("k_chunk", &chunk);
        let found = run.with("k_out", &before).go();
        let [rows, tolerances] = written(&unpacked(format, &before, 22), &chunk, (variant, &params), &spans);
        let stored = unpacked(format, found.words("k_out"), 22);
        assert_close(&format!("{} k_out", found.what()), &stored, &rows, Tolerance::Each(&tolerances));
    }
}
