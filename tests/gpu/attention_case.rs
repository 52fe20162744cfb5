//! What tests of attention run: sequences in caches of any kind, on lanes or on cooperative matrices.

use std::fmt::Display;

use wattle::energy::Phase;
use wattle::fragments::{CacheRows, CacheSlots, MatrixSize, Reach, ScoreBias};
use wattle::kernel::{Kernel, SequenceSpan, Span};
use wattle::kernels::attention::{Attention, AttentionParams, Values, split_count};
use wattle::kernels::attention_coop::AttentionCoop;
use wattle::kernels::attention_merge::{AttentionMerge, AttentionMergeParams};
use wattle::model::config::Alibi;
use wattle::reference::attention::{self as reference};

use crate::harness::{Run, span};
use crate::keys::{Sequence, by_head, mask, packed};
use crate::support::compare::Tolerance;

/// Sequences of one layer in one call.
pub struct Call<'a> {
    sequences: Vec<&'a Sequence>,
    cache: CacheRows,
    /// Slots of a sequence's own.
    slots: usize,
}

/// Tokens of a page.
const PAGE: usize = 3;

impl Call<'_> {
    /// A sequence with its own slots.
    pub fn one(sequence: &Sequence, slots: usize) -> Call<'_> {
        Call { sequences: vec![sequence], cache: CacheRows::PLAIN, slots }
    }

    fn first(&self) -> &Sequence {
        self.sequences[0]
    }

    /// Sequences lie in the caches in the other order.
    fn place(&self, n: usize) -> usize {
        self.sequences.len() - 1 - n
    }

    fn spans(&self) -> Vec<SequenceSpan> {
        let of = |(n, sequence): (usize, &&Sequence)| SequenceSpan {
            first_row: self.sequences[..n].iter().map(|before| before.rows as u32).sum(),
            sequence: self.place(n) as u32,
            ..span(sequence.position, sequence.rows).into()
        };
        self.sequences.iter().enumerate().map(of).collect()
    }

    fn pages(&self) -> usize {
        self.sequences.iter().map(|of| (of.position + of.rows).div_ceil(PAGE)).max().unwrap()
    }

    fn params(&self) -> AttentionParams {
        let slots = if self.cache.slots == CacheSlots::Paged { PAGE } else { self.slots };
        AttentionParams { slots: slots as u32, pages: self.pages() as u32, ..self.first().params() }
    }

    /// The page of a sequence's tokens, counted from its first: those of all sequences in turn, backwards.
    fn page(&self, n: usize, at: usize) -> usize {
        self.sequences.len() * (self.pages() - at) - 1 - n
    }

    fn rows(&self) -> usize {
        self.sequences.iter().map(|of| of.rows).sum()
    }

    /// Keys or values before the call, or all of them.
    fn cached(&self, of: impl Fn(&Sequence) -> &[f32], with_own: bool) -> Vec<u32> {
        let mut parts = vec![Vec::new(); self.sequences.len() * self.pages().max(1)];
        let count = self.sequences.len();
        for (n, sequence) in self.sequences.iter().enumerate() {
            let end = sequence.position + if with_own { sequence.rows } else { 0 };
            if self.cache.slots == CacheSlots::Own {
                parts[self.place(n)] = sequence.ring(of(sequence), self.slots, end);
                continue;
            }
            for at in 0..self.pages() {
                parts[self.page(n, at)] = sequence.page(of(sequence), PAGE, at, end);
            }
        }
        parts.truncate(if self.cache.slots == CacheSlots::Own { count } else { count * self.pages() });
        packed(self.cache.format, &parts.concat(), self.first().width(of(self.first())))
    }

    /// The keys or values of the call itself.
    fn chunk(&self, of: impl Fn(&Sequence) -> &[f32], slots: usize) -> Vec<f32> {
        let own = |sequence: &&Sequence| {
            let width = sequence.layer.kv_heads * sequence.width(of(sequence));
            of(sequence)[sequence.position * width..].to_vec()
        };
        let rows: Vec<f32> = self.sequences.iter().flat_map(own).collect();
        by_head(&rows, self.first().layer.kv_heads, self.first().width(of(self.first())), slots, Some)
    }

    fn run<K: Kernel>(&self, variant: K, params: K::Params, what: &str) -> Run {
        let what = format!("{what}, {} sequences", self.sequences.len());
        Run::new(variant, params, span(0, self.rows()), what).sequences(self.spans())
    }

    fn with_table(&self, run: Run) -> Run {
        let mut table = vec![u32::MAX; self.sequences.len() * self.pages()];
        for n in 0..self.sequences.len() {
            for at in 0..self.pages() {
                table[self.place(n) * self.pages() + at] = self.page(n, at) as u32;
            }
        }
        if self.cache.slots == CacheSlots::Paged { run.with("page_table", &table) } else { run }
    }

    fn q(&self) -> Vec<f32> {
        self.sequences.iter().flat_map(|of| of.q.iter().copied()).collect()
    }

    /// Compares with the reference, or with golden data where there is some.
    fn check(&self, run: Run, golden: Option<&[f32]>, with_own: bool) {
        let outputs = self.sequences.iter().map(|of| of.outputs()).sum();
        let found = run.out("out", outputs).go();
        if let Some(golden) = golden {
            return found.close("out", golden, Tolerance::OfLargest(1e-5));
        }
        let seen = |sequence: &Sequence| {
            let end = sequence.position + if with_own { sequence.rows } else { 0 };
            sequence.with_stored(self.cache.format, end)
        };
        let all = |of: fn(&Sequence) -> Vec<f32>| -> Vec<f32> {
            self.sequences.iter().flat_map(|sequence| of(&seen(sequence))).collect()
        };
        found.close("out", &all(Sequence::expected), Tolerance::Each(&all(Sequence::tolerances)));
    }

    pub fn prefill(&self, chunk_slots: usize, what: &str, golden: Option<&[f32]>) {
        let params = AttentionParams { chunk_slots: chunk_slots as u32, ..self.params() };
        let what = format!("{what}, {} sequences", self.sequences.len());
        let at = span(0, self.rows());
        let run = prompt(self.first(), variant(self, Phase::Prefill, Reach::Window), params, at, what)
            .sequences(self.spans())
            .with("q", &self.q())
            .with("k_cache", &self.cached(|of| &of.k, false))
            .with("k_chunk", &self.chunk(|of| &of.k, chunk_slots));
        let run = match self.first().values {
            Values::Own(_) => run
                .with("v_cache", &self.cached(|of| &of.v, false))
                .with("v_chunk", &self.chunk(|of| &of.v, chunk_slots)),
            Values::InKeys(_) => run,
        };
        let run = with_bias(run, self.first());
        self.check(with_sinks(self.with_table(run), self.first()), golden, false);
    }

    pub fn decode(&self, split_keys: u32, what: &str, golden: Option<&[f32]>) {
        let variant = variant(self, Phase::Decode, Reach::Window);
        let params = AttentionParams { split_keys, ..self.params() };
        let splits = |sequence: &&Sequence| {
            let newest = sequence.position as u32;
            split_count(variant.reach.first_visible(newest, params.reach), newest, split_keys)
        };
        // A window may touch one part more at another position.
        let max_splits = self.sequences.iter().map(splits).max().unwrap() + 1;
        let params = AttentionParams { max_splits, ..params };
        let layer = self.first().layer;
        let part_words = self.rows() * layer.heads * (self.first().value_dim() + 2);
        let run = self
            .run(variant, params, what)
            .with("q", &self.q())
            .with("k_cache", &self.cached(|of| &of.k, true));
        let run = match self.first().values {
            Values::Own(_) => run.with("v_cache", &self.cached(|of| &of.v, true)),
            Values::InKeys(_) => run,
        };
        let run = with_bias(run, self.first());
        let parts = self.with_table(run).out("parts", part_words * params.max_splits as usize).go();
        let AttentionParams { heads, reach, split_keys, max_splits, slots, .. } = params;
        let head_dim = self.first().values.dim();
        let merge = AttentionMergeParams { heads, head_dim, reach, split_keys, max_splits, slots };
        let variant = AttentionMerge { reach: variant.reach, sinks: self.first().sinks.is_some() };
        let run = self.run(variant, merge, what).with("parts", parts.floats("parts"));
        self.check(with_sinks(run, self.first()), golden, true);
    }
}

fn with_sinks(run: Run, sequence: &Sequence) -> Run {
    match &sequence.sinks {
        Some(sinks) => run.with("sinks", sinks),
        None => run,
    }
}

fn with_bias(run: Run, sequence: &Sequence) -> Run {
    match sequence.bias_by_distance() {
        Some(bias) => run.with("relative_bias", &bias),
        None => run,
    }
}

/// All keys of the call, before its queries and after them.
pub fn both_ways(sequence: &Sequence, slots: usize, what: &str, golden: Option<&[f32]>) {
    assert_eq!(sequence.position, 0);
    let params = AttentionParams { slots: slots as u32, ..sequence.params() };
    let at = span(0, sequence.rows);
    let variant = variant(&Call::one(sequence, slots), Phase::Prefill, Reach::Both);
    let run = prompt(sequence, variant, params, at, what)
        .with("q", &sequence.q)
        .with("k_cache", &Call::one(sequence, slots).chunk(|of| &of.k, slots))
        .with("v_cache", &Call::one(sequence, slots).chunk(|of| &of.v, slots));
    Call::one(sequence, slots).check(with_bias(with_sinks(run, sequence), sequence), golden, false);
}

/// All keys of an encoder, of which there are `position + rows` and room for more; where queries stand does not matter.
pub fn across(
    sequence: &Sequence,
    (phase, v_is_k): (Phase, bool),
    split_keys: u32,
    what: &str,
    golden: Option<&[f32]>,
) {
    let Sequence { layer, position, rows, .. } = sequence;
    let length = position + rows;
    let slots = length + 70;
    let max_splits = (slots as u32).div_ceil(split_keys.max(1));
    let params = AttentionParams { slots: slots as u32, split_keys, max_splits, ..sequence.params() };
    let variant = Attention { v_is_k, ..variant(&Call::one(sequence, slots), phase, Reach::Encoder) };
    let (rows, at) = (*rows, span(3, *rows));
    let beside = sequence.beside(slots, v_is_k);
    let run = prompt(sequence, variant, params, at, what)
        .with("q", &sequence.q)
        .with("k_cache", &beside)
        .with("v_cache", &beside)
        .with("encoder_length", &[length as u32]);
    if phase == Phase::Prefill {
        return Call::one(sequence, slots).check(with_sinks(run, sequence), golden, false);
    }
    let part_words = rows * layer.heads * (layer.head_dim + 2);
    // Parts beyond the input's end are not written, and not read.
    let zeros = vec![0.0f32; part_words * max_splits as usize];
    let parts = run.with("parts", &zeros).go();
    let AttentionParams { heads, reach, .. } = params;
    let head_dim = layer.head_dim as u32;
    let merge = AttentionMergeParams { heads, head_dim, reach, split_keys, max_splits, slots: params.slots };
    let variant = AttentionMerge { reach: Reach::Encoder, sinks: sequence.sinks.is_some() };
    let run = Run::new(variant, merge, at, what)
        .with("parts", parts.floats("parts"))
        .with("encoder_length", &[length as u32]);
    Call::one(sequence, slots).check(with_sinks(run, sequence), golden, false);
}

/// `causal` is what a query sees that has no chunk, where it sees no later key.
fn variant(call: &Call<'_>, phase: Phase, causal: Reach) -> Attention {
    let sequence = call.first();
    let layer = &sequence.layer;
    let score_bias = match &sequence.bias {
        Some((relative, _)) => ScoreBias::Relative { distance: relative.max_distance },
        None => layer.alibi.map_or(ScoreBias::None, |alibi| ScoreBias::Alibi { bf16: alibi.bf16 }),
    };
    let plain = Attention::new(layer.head_dim as u32, phase);
    Attention {
        values: sequence.values,
        queries: sequence.queries.unwrap_or(plain.queries),
        softcap: layer.softcap.is_some(),
        reach: if layer.mask.chunk.is_some() { Reach::Chunk } else { causal },
        score_bias,
        sinks: sequence.sinks.is_some() && phase == Phase::Prefill,
        cache: call.cache,
        ..plain
    }
}

/// On lanes, or where they compute the sequence on cooperative matrices; steps on lanes.
fn prompt(
    sequence: &Sequence,
    variant: Attention,
    params: AttentionParams,
    at: Span,
    what: impl Display,
) -> Run {
    match sequence.on.and_then(|size| AttentionCoop::of(variant, size)) {
        Some(variant) => Run::new(variant, params, at, what),
        None => Run::new(variant, params, at, what),
    }
}

/// Heads, key/value heads, window, slots (0: all positions), position, rows.
pub const PREFILLS: [(usize, usize, u32, usize, usize, usize); 14] = [
    (1, 1, 0, 0, 0, 1),
    (4, 1, 0, 0, 0, 9),
    (4, 4, 1, 1, 5, 3),
    (6, 2, 8, 8, 13, 13),
    (3, 1, 8, 8, 3, 20),
    (2, 1, 0, 0, 63, 2),
    (3, 3, 70, 128, 65, 5),
    (8, 1, 3, 3, 100, 9),
    (2, 2, 300, 300, 31, 34),
    (5, 1, 33, 33, 64, 32),
    (2, 1, u32::MAX, 0, 40, 9),
    // So many keys that a few queries are spread over workgroups, by one, two and five.
    (2, 1, 0, 0, 290, 1),
    (6, 2, 0, 0, 283, 6),
    (10, 2, 300, 300, 270, 13),
];

/// Heads, key/value heads, window, slots (0: all positions), keys per part, position.
pub const DECODES: [(usize, usize, u32, usize, u32, usize); 14] = [
    (1, 1, 0, 0, 32, 0),
    (4, 1, 0, 0, 32, 31),
    (4, 2, 0, 0, 32, 32),
    (9, 1, 0, 0, 64, 63),
    (3, 3, 0, 0, 64, 64),
    (2, 1, 0, 0, 16, 257),
    (6, 2, 8, 8, 32, 35),
    (6, 2, 8, 8, 32, 31),
    (2, 1, 1, 1, 64, 64),
    (4, 4, 33, 40, 32, 95),
    (17, 1, 100, 128, 64, 140),
    (2, 2, 500, 500, 64, 130),
    (2, 1, u32::MAX, 0, 16, 70),
    // As many heads as share a pass over the keys, and a few more.
    (131, 1, 0, 0, 64, 70),
];

pub fn run_case(variant: Attention, softcap: f32, seed: usize, size: f32) {
    run_case_on(None, variant, softcap, seed, (size, 1.0));
}

/// The same where prompts are computed on cooperative matrices, and with queries in another unit, which their scale undoes.
pub fn run_case_on(
    on: Option<MatrixSize>,
    variant: Attention,
    softcap: f32,
    seed: usize,
    (size, unit): (f32, f32),
) {
    let what = format!("size {size}, seed {seed}");
    let (seed_64, head_dim) = (seed as u64, variant.head_dim as usize);
    let of = |heads, kv_heads, tokens| reference::Attention {
        // What has no window has chunks of a few tokens.
        mask: mask(variant.reach, if variant.reach == Reach::Chunk && tokens == 0 { 7 } else { tokens }),
        alibi: match variant.score_bias {
            ScoreBias::None | ScoreBias::Relative { .. } => None,
            ScoreBias::Alibi { bf16 } => Some(Alibi { scale: [1.0, 0.3][seed % 2], bf16 }),
        },
        ..Sequence::layer(heads, kv_heads, head_dim, 0, softcap)
    };
    let in_unit = |mut sequence: Sequence| {
        sequence.q.iter_mut().for_each(|q| *q *= unit);
        sequence.layer.scale /= unit;
        sequence
    };
    // A decode has its sinks when its parts are merged.
    let with = |sequence: Sequence| match variant.sinks || (variant.phase == Phase::Decode && seed % 2 == 1) {
        true => sequence.with_sinks(seed_64),
        false => sequence,
    };
    let with =
        |sequence: Sequence| with(in_unit(Sequence { queries: Some(variant.queries), on, ..sequence }));
    let with = |sequence: Sequence| match variant.score_bias {
        ScoreBias::Relative { distance } => with(sequence).with_bias(distance, seed_64),
        ScoreBias::None | ScoreBias::Alibi { .. } => with(sequence),
    };
    let own = |sequence: Sequence| match variant.v_is_k {
        true => Sequence { v: sequence.k.clone(), ..sequence },
        false => sequence,
    };
    match variant.phase {
        Phase::Prefill if variant.reach == Reach::Both => {
            let (heads, kv_heads, _, _, position, rows) = PREFILLS[seed % PREFILLS.len()];
            let sequence = with(Sequence::random(
                (of(heads, kv_heads, 0), variant.values),
                0,
                position + rows,
                size,
                seed_64,
            ));
            both_ways(&sequence, position + rows + seed % 3, &what, None);
        }
        Phase::Prefill if variant.reach == Reach::Encoder => {
            let (heads, kv_heads, _, _, position, rows) = PREFILLS[seed % PREFILLS.len()];
            let sequence = with(Sequence::random(
                (of(heads, kv_heads, 0), variant.values),
                position,
                rows,
                size,
                seed_64,
            ));
            across(&own(sequence), (Phase::Prefill, variant.v_is_k), 32, &what, None);
        }
        Phase::Decode if variant.reach == Reach::Encoder => {
            let (heads, kv_heads, _, _, split_keys, position) = DECODES[seed % DECODES.len()];
            let sequence =
                with(Sequence::random((of(heads, kv_heads, 0), variant.values), position, 1, size, seed_64));
            across(&own(sequence), (Phase::Decode, variant.v_is_k), split_keys, &what, None);
        }
        Phase::Prefill => {
            let (heads, kv_heads, window, slots, position, rows) = PREFILLS[seed % PREFILLS.len()];
            let layer = (of(heads, kv_heads, window), variant.values);
            let sequence = with(Sequence::random(layer, position, rows, size, seed_64));
            let slots = if slots == 0 { position + rows } else { slots };
            // One at its beginning, and one that is further.
            let begins = with(Sequence::random(layer, 0, 1 + seed % 4, size, seed_64 + 100));
            let ended = with(Sequence::random(layer, position + seed % 5, 2, size, seed_64 + 200));
            let alone = Call { cache: variant.cache, ..Call::one(&sequence, slots) };
            alone.prefill(rows + seed % 3, &what, None);
            let sequences = vec![&begins, &sequence, &ended];
            let call = Call { sequences, slots: slots + seed % 5 + 2, ..alone };
            call.prefill(call.rows() + seed % 3, &what, None);
        }
        Phase::Decode => {
            let (heads, kv_heads, window, slots, split_keys, position) = DECODES[seed % DECODES.len()];
            let layer = (of(heads, kv_heads, window), variant.values);
            let sequence = with(Sequence::random(layer, position, 1, size, seed_64));
            let slots = if slots == 0 { position + 1 } else { slots };
            let begins = with(Sequence::random(layer, seed % 2, 1, size, seed_64 + 100));
            let ended = with(Sequence::random(layer, position + 40, 1, size, seed_64 + 200));
            let alone = Call { cache: variant.cache, ..Call::one(&sequence, slots) };
            alone.decode(split_keys, &what, None);
            let sequences = vec![&ended, &begins, &sequence];
            Call { sequences, slots: slots + 40, ..alone }.decode(split_keys, &what, None);
        }
    }
}

pub fn of_size(head_dim: u32, softcap: f32, reach: Reach, sinks: bool, phase: Phase) -> Attention {
    let values = Values::Own(head_dim);
    Attention { values, softcap: softcap > 0.0, reach, sinks, ..Attention::new(head_dim, phase) }
}
