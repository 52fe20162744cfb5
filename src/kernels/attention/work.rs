//! What `attention` moves and computes.

use std::ops::Range;

use super::{Attention, AttentionParams};
use crate::energy::{ByteClass, OpClass, Phase, Work};
use crate::fragments::Reach;
use crate::kernel::Span;

/// What a workgroup computes at a time.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Steps {
    /// Keys.
    pub keys: u32,
    /// Elements of a key that are multiplied, those that fill it up included.
    pub key_width: u64,
    /// The same of a value.
    pub value_width: u64,
    /// Whether queries and keys that a tile lacks are multiplied all the same.
    pub whole: bool,
    /// What multiplies.
    pub class: OpClass,
}

/// Of one call.
pub(in crate::kernels) fn of(
    attention: Attention,
    steps: Steps,
    params: &AttentionParams,
    spans: &[Span],
) -> Work {
    let mut work = Work::default();
    spans.iter().map(|span| of_span(attention, steps, params, *span)).for_each(|of_span| work += of_span);
    if attention.sinks && attention.phase == Phase::Prefill {
        let (heads, rows) = (u64::from(params.heads), u64::from(Span::total_rows(spans)));
        work += sink_work(heads, rows * heads, attention.values.dim().into());
    }
    work
}

/// What the tokens of one sequence cost, but for sinks. Of keys and values, what a workgroup reads counts once, however many of
/// its lanes share it or read the last one again to fill a tile.
fn of_span(attention: Attention, steps: Steps, params: &AttentionParams, span: Span) -> Work {
    let Attention { head_dim, values, reach, score_bias, .. } = attention;
    let format = attention.cache.format;
    let tokens = if reach == Reach::Encoder { params.slots } else { params.reach };
    let pairs = visible_pairs(span, reach, tokens);
    let (heads, kv_heads) = (u64::from(params.heads), u64::from(params.kv_heads));
    let (rows, key_dim, value_dim) = (u64::from(span.rows), u64::from(head_dim), u64::from(values.dim()));
    // What scores and outputs multiply; values that lie in the keys are read again, but are no bytes more.
    let both = key_dim + value_dim;
    let requested_bytes = format.row_bytes(head_dim) + format.row_bytes(values.dim());
    let stored_bytes = if values.are_own() { requested_bytes } else { format.row_bytes(head_dim) };
    let last = reach.key_end(span.position + span.rows - 1, span, params.slots);
    let distinct = u64::from(last - reach.first_visible(span.position, params.reach)) * kv_heads;
    let walks = walks(attention, params, span);
    let sum = |of: &dyn Fn(&Walk) -> u64| walks.iter().map(of).sum::<u64>() * kv_heads;
    let walked = sum(&Walk::keys);
    // Scores that are computed, masked ones included, and weights that multiply values; and those of queries that a tile lacks, which
    // are masked and go through the softmax all the same.
    let filled_up = |walk: &Walk| walk.keys().next_multiple_of(u64::from(steps.keys));
    let softmax = sum(&filled_up) * u64::from(attention.queries);
    let [scores, weights] = match steps.whole {
        true => [softmax; 2],
        false => [sum(&|walk| walk.queries * filled_up(walk)), sum(&|walk| walk.queries * walk.keys())],
    };
    let executed = scores * steps.key_width + weights * steps.value_width;
    let q_reads = softmax / u64::from(steps.keys) * key_dim * 4;
    let mut work = Work::default()
        .with_bytes(ByteClass::ActIn, rows * heads * key_dim * 4, q_reads)
        .with_bytes(ByteClass::KvRead, distinct * stored_bytes, walked * requested_bytes)
        .with_ops(steps.class, heads * pairs * both, executed)
        .with_ops(OpClass::Sfu, heads * pairs, softmax);
    let outputs = rows * heads * value_dim * 4;
    work = match attention.phase {
        Phase::Prefill => work.with_bytes(ByteClass::ActOut, outputs, outputs),
        Phase::Decode => {
            let splits = u64::from(attention.splits(params, span));
            let bytes = rows * heads * splits * (value_dim + 2) * 4;
            work.with_bytes(ByteClass::Scratch, bytes, bytes)
        }
    };
    work = format.read_work(distinct * both, walked * both, work);
    work = score_bias.work(heads * pairs, softmax, work);
    if let Some((_, table)) = score_bias.size(params.heads) {
        work = work.with_bytes(ByteClass::Weight, table.min(4 * heads * pairs), 4 * softmax);
    }
    if attention.softcap {
        work = work.with_ops(OpClass::Sfu, heads * pairs, softmax);
    }
    work
}

/// What one workgroup goes through.
struct Walk {
    queries: u64,
    keys: Range<u32>,
}

impl Walk {
    fn keys(&self) -> u64 {
        u64::from(self.keys.end - self.keys.start)
    }
}

/// What each workgroup of a key/value head goes through: the union of the keys that its queries see, or its part of that.
fn walks(attention: Attention, params: &AttentionParams, span: Span) -> Vec<Walk> {
    let per_head = params.heads / params.kv_heads;
    let (count, tile) = (span.rows * per_head, attention.queries_per_tile(params, span));
    let of_tile = |t: u32| {
        let (first, end) = (t * tile, (t * tile + tile).min(count));
        let [oldest, newest] = [first, end - 1].map(|query| span.position + query / per_head);
        let keys = attention.reach.first_visible(oldest, params.reach)
            ..attention.reach.key_end(newest, span, params.slots);
        Walk { queries: u64::from(end - first), keys }
    };
    let tiles = (0..count.div_ceil(tile)).map(of_tile);
    match attention.phase {
        Phase::Prefill => tiles.collect(),
        Phase::Decode => tiles
            .flat_map(|Walk { queries, keys }| {
                parts(keys, params.split_keys).map(move |keys| Walk { queries, keys })
            })
            .collect(),
    }
}

/// A range cut at multiples of `split_keys`.
fn parts(keys: Range<u32>, split_keys: u32) -> impl Iterator<Item = Range<u32>> {
    let part = move |n: u32| {
        keys.start.max(n * split_keys)..keys.end.min(n.saturating_add(1).saturating_mul(split_keys))
    };
    (keys.start / split_keys..keys.end.div_ceil(split_keys)).map(part)
}

/// What sinks add to the outputs of `rows` tokens' heads: a logit each, and two exponentials in each lane of an output.
pub(in crate::kernels) fn sink_work(heads: u64, outputs: u64, head_dim: u64) -> Work {
    let lanes = outputs * head_dim;
    Work::default().with_bytes(ByteClass::Weight, heads * 4, lanes * 4).with_ops(
        OpClass::Sfu,
        2 * outputs,
        2 * lanes,
    )
}

/// Visible (query, key) pairs of one head; `tokens` are those of a window, of a chunk, or of an encoder.
pub fn visible_pairs(span: Span, reach: Reach, tokens: u32) -> u64 {
    let (p, rows) = (u64::from(span.position), u64::from(span.rows));
    let n = u64::from(tokens);
    // Of all rows from the first of the sequence on.
    let up_to = |rows: u64| match reach {
        Reach::Window if n == 0 || rows <= n => rows * (rows + 1) / 2,
        Reach::Window => n * (n + 1) / 2 + (rows - n) * n,
        Reach::Chunk => (rows / n) * (n * (n + 1) / 2) + (rows % n) * (rows % n + 1) / 2,
        Reach::Both => rows * rows,
        Reach::Encoder => rows * n,
    };
    up_to(p + rows) - up_to(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_pairs_counts_what_each_row_sees() {
        for (reach, tokens) in
            [0, 1, 3, 8].map(|n| (Reach::Window, n)).into_iter().chain([1, 3, 8].map(|n| (Reach::Chunk, n)))
        {
            for position in [0, 1, 2, 7, 8, 9, 30] {
                for rows in [1, 2, 5, 17] {
                    let span = Span { position, rows };
                    let counted: u64 = (position..position + rows)
                        .map(|p| u64::from(p + 1 - reach.first_visible(p, tokens)))
                        .sum();
                    assert_eq!(
                        visible_pairs(span, reach, tokens),
                        counted,
                        "{span:?}, {reach:?} of {tokens}"
                    );
                }
            }
        }
    }
}
