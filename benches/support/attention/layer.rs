//! The dispatches of one case, and what they read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use wattle::energy::{Phase, Work};
use wattle::fragments::{CacheRows, CacheSlots, MatrixSize, Reach};
use wattle::kernel::{AnyLaunch, Kernel, Launch, SequenceSpan, Span};
use wattle::kernels::attention::{Attention, AttentionParams, split_keys};
use wattle::kernels::attention_coop::AttentionCoop;
use wattle::kernels::attention_merge::{AttentionMerge, AttentionMergeParams};
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::reference::cache_rows::pack;
use wattle::tuning::ProductPath;
use wattle::{Gpu, Tensor};

use super::case::Case;
use crate::support::Result;
use crate::support::chain::{Chain, Elapsed, Link};
use crate::support::roof::Roof;

/// Keys and values repeat after so many tokens, so that a long cache is made in no time.
pub const PERIOD: u32 = 256;

/// Most copies of small caches.
const MOST_COPIES: u64 = 64;

/// Tokens of a prompt that one call takes.
pub const CHUNK: u32 = 2048;

/// Random numbers: of queries `[rows, H, h]`, of keys and of values `[PERIOD, G, h]`.
pub struct Numbers {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
}

impl Numbers {
    /// For a case whose prompts go in chunks of so many tokens.
    pub fn draw(case: &Case, chunk: u32) -> Self {
        let of = |rows: u32, heads: u32, seed| {
            let (rows, width) = (0..rows as usize, (heads * case.heads.head_dim) as usize);
            PackedMatrix::random(WeightFormat::F32, rows, width, seed).unpack()
        };
        let rows = match case.phase {
            Phase::Prefill => chunk.min(case.tokens),
            Phase::Decode => case.batch,
        };
        let kv_heads = case.heads.kv_heads;
        Self { q: of(rows, case.heads.heads, 1), k: of(PERIOD, kv_heads, 2), v: of(PERIOD, kv_heads, 3) }
    }
}

/// Attention, ready to run. A prompt runs chunk by chunk; a step runs with several copies of its caches, of which none is
/// in the device's own when its turn comes.
pub struct Layer {
    /// One for each chunk of a prompt, one for a step.
    pub chains: Vec<Chain>,
    /// What attends.
    pub kernel: &'static str,
    /// Steps of one run.
    pub times: u32,
    /// `[rows, H, h]` of the last chunk or step.
    pub out: Tensor,
}

impl Layer {
    /// Uploads what a case needs: a prompt in chunks of so many tokens, or a step with so many copies of its caches.
    pub fn new(gpu: &Gpu, case: &Case, numbers: &Numbers, (chunk, copies): (u32, u32)) -> Result<Self> {
        match case.phase {
            Phase::Prefill => Self::of_prompt(gpu, case, numbers, chunk),
            Phase::Decode => Self::of_step(gpu, case, numbers, copies),
        }
    }

    fn of_prompt(gpu: &Gpu, case: &Case, numbers: &Numbers, chunk: u32) -> Result<Self> {
        let rows = chunk.min(case.tokens);
        let launch = prompt(gpu, case, params(case, rows));
        let kernel = launch.name();
        let zeroed = |bytes: u64| gpu.block_on(Tensor::zeroed(gpu, "attention", bytes));
        let upload = |words: &[u32]| gpu.block_on(Tensor::upload(gpu, "attention", words));
        let out = zeroed(numbers.q.len() as u64 * 4)?;
        let mut tensors = HashMap::from([
            ("q".to_owned(), gpu.block_on(Tensor::upload(gpu, "q", &numbers.q))?),
            ("out".to_owned(), out.clone()),
        ]);
        // What a chunk finds in the cache is what the next one finds, but for the few tokens that another position shifts it by:
        // the same for time, and so the last chunk's is taken for all.
        let last = (case.tokens - 1) / rows * rows;
        for (name, numbers) in [("k", &numbers.k), ("v", &numbers.v)] {
            tensors.insert(format!("{name}_cache"), upload(&cached(case, numbers, last))?);
            let chunk = rows_of(case, numbers, last..last + rows);
            tensors.insert(format!("{name}_chunk"), upload(bytemuck::cast_slice(&chunk))?);
        }
        let names = ["q", "k_cache", "v_cache", "k_chunk", "v_chunk", "out"];
        let link: Link = (launch, names.map(|name| (name, name.to_owned())).to_vec());
        let chunk = |position: u32| {
            let span = Span { position, rows: rows.min(case.tokens - position) };
            Chain::new(gpu, std::slice::from_ref(&link), &tensors, &[span], &[span.into()])
        };
        let chains = (0..case.tokens).step_by(rows as usize).map(chunk).collect::<Result<_>>()?;
        Ok(Self { chains, kernel, times: 1, out })
    }

    fn of_step(gpu: &Gpu, case: &Case, numbers: &Numbers, copies: u32) -> Result<Self> {
        let (variant, params) = (variant(case), params(case, 0));
        let AttentionParams { heads, reach, split_keys, max_splits, slots, .. } = params;
        let head_dim = case.heads.head_dim;
        let merge = AttentionMergeParams { heads, head_dim, reach, split_keys, max_splits, slots };
        let merge = Launch { variant: AttentionMerge { reach: Reach::Window, sinks: false }, params: merge };
        let (attend, merge) = (Launch { variant, params }.shared(), merge.shared());
        let kernel = attend.name();
        let zeroed = |bytes: u64| gpu.block_on(Tensor::zeroed(gpu, "attention", bytes));
        let part_bytes = u64::from(case.batch * heads) * u64::from(max_splits) * u64::from(head_dim + 2) * 4;
        let out = zeroed(numbers.q.len() as u64 * 4)?;
        let mut tensors = HashMap::from([
            ("q".to_owned(), gpu.block_on(Tensor::upload(gpu, "q", &numbers.q))?),
            ("parts".to_owned(), zeroed(part_bytes)?),
            ("out".to_owned(), out.clone()),
        ]);
        let caches = [("k_cache", &numbers.k), ("v_cache", &numbers.v)]
            .map(|(name, numbers)| (name, cached(case, numbers, case.tokens)));
        let mut links = Vec::<Link>::new();
        for n in 0..copies {
            let mut ends = vec![("q", "q".to_owned()), ("parts", "parts".to_owned())];
            for (name, words) in &caches {
                let copy = format!("{name} {n}");
                tensors.insert(copy.clone(), gpu.block_on(Tensor::upload(gpu, name, words))?);
                ends.push((name, copy));
            }
            // Lets the queue free its staging memory before the next copy.
            gpu.queue().submit([]);
            links.push((attend.clone(), ends));
            links.push((merge.clone(), vec![("parts", "parts".to_owned()), ("out", "out".to_owned())]));
        }
        let of = |n: u32| SequenceSpan {
            first_row: n,
            sequence: n,
            ..Span { position: case.tokens - 1, rows: 1 }.into()
        };
        let sequences: Vec<_> = (0..case.batch).map(of).collect();
        let spans = sequences.iter().map(|sequence| sequence.span()).collect::<Vec<_>>();
        let chain = Chain::new(gpu, &links, &tensors, &spans, &sequences)?;
        Ok(Self { chains: vec![chain], kernel, times: copies, out })
    }

    /// Everything once.
    pub fn run(&mut self) -> Result<Elapsed> {
        let mut all = Vec::new();
        for chain in &mut self.chains {
            all.push(chain.run(1)?);
        }
        let wall = all.iter().map(|elapsed| elapsed.wall).sum();
        Ok(Elapsed { wall, device: all.iter().map(|elapsed| elapsed.device).sum() })
    }

    /// What a run moves and computes.
    pub fn work(&self) -> Work {
        let mut work = Work::default();
        self.chains.iter().for_each(|chain| work += chain.work());
        work
    }
}

/// On lanes or on matrices.
fn prompt(gpu: &Gpu, case: &Case, params: AttentionParams) -> Arc<dyn AnyLaunch> {
    let size = MatrixSize::of(gpu.capabilities()).filter(|_| case.path == ProductPath::Matrix);
    match size.and_then(|size| AttentionCoop::of(variant(case), size)) {
        Some(variant) => Launch { variant, params }.shared(),
        None => Launch { variant: variant(case), params }.shared(),
    }
}

fn variant(case: &Case) -> Attention {
    let Case { heads, phase, cache, .. } = *case;
    let cache = CacheRows { slots: CacheSlots::Own, format: cache };
    let variant = Attention { cache, ..Attention::new(heads.head_dim, phase) };
    variant.for_heads(heads.heads, heads.kv_heads)
}

fn params(case: &Case, chunk_slots: u32) -> AttentionParams {
    let split_keys = split_keys(case.heads.head_dim);
    AttentionParams {
        heads: case.heads.heads,
        kv_heads: case.heads.kv_heads,
        slots: case.slots(),
        pages: 0,
        chunk_slots,
        reach: case.window.unwrap_or(0),
        split_keys,
        max_splits: case.slots().div_ceil(split_keys) + 1,
        scale: f32::from(case.heads.head_dim as u16).sqrt().recip(),
        softcap: 1.0,
        alibi_scale: 0.0,
    }
}

/// The elements of a token's head.
pub fn element<'a>(case: &Case, numbers: &'a [f32], token: u32, head: u32) -> &'a [f32] {
    let at = (token % PERIOD * case.heads.kv_heads + head) * case.heads.head_dim;
    &numbers[at as usize..][..case.heads.head_dim as usize]
}

/// Tokens as a call has them for itself, `[G, rows, h]`.
fn rows_of(case: &Case, numbers: &[f32], tokens: std::ops::Range<u32>) -> Vec<f32> {
    let heads = 0..case.heads.kv_heads;
    let of_head =
        |head| tokens.clone().flat_map(move |token| element(case, numbers, token, head).iter().copied());
    heads.flat_map(of_head).collect()
}

/// The cache of every sequence, `[batch, G, slots]` rows, when `end` tokens are in it.
fn cached(case: &Case, numbers: &[f32], end: u32) -> Vec<u32> {
    let slots = case.slots();
    // The last token that a slot has taken; one that has none yet has any.
    let token = |slot: u32| slot + (end.saturating_sub(slot + 1)) / slots * slots;
    let width = case.heads.head_dim as usize;
    let row = |head, slot| pack(case.cache, element(case, numbers, token(slot), head), width);
    let of_head = |head| (0..slots).flat_map(move |slot| row(head, slot));
    let one: Vec<u32> = (0..case.heads.kv_heads).flat_map(of_head).collect();
    one.repeat(case.batch as usize)
}

/// Copies of the caches for a run to go through so many bytes, or a reason against the case: a binding is too small, or `runs`
/// of it are predicted to take longer than `longest`.
pub fn copies(
    gpu: &Gpu,
    roof: &Roof,
    case: &Case,
    rotated: u64,
    (runs, longest): (u32, Option<Duration>),
) -> Result<u32, String> {
    let (variant, params) = (variant(case), params(case, CHUNK.min(case.tokens)));
    let (rows, spans) = match case.phase {
        Phase::Prefill => (CHUNK.min(case.tokens), vec![Span { position: 0, rows: case.tokens }]),
        Phase::Decode => (case.batch, vec![Span { position: case.tokens - 1, rows: 1 }; case.batch as usize]),
    };
    let limit = gpu.capabilities().max_binding_bytes;
    for (name, bytes) in variant.sizes(&params, rows) {
        let sequences = if name.ends_with("_cache") { u64::from(case.batch) } else { 1 };
        if bytes * sequences > limit {
            return Err(format!("{name} has {} bytes, a binding has at most {limit}", bytes * sequences));
        }
    }
    let work = variant.work_of(&params, &spans);
    let copies = match case.phase {
        Phase::Prefill => 1,
        Phase::Decode => rotated.div_ceil(work.total_bytes().least).clamp(1, MOST_COPIES) as u32,
    };
    let predicted = runs * copies * roof.time(&work, rows);
    match longest.is_some_and(|longest| predicted > longest) {
        true => Err(format!("predicted to take {:.0} s", predicted.as_secs_f64())),
        false => Ok(copies),
    }
}
