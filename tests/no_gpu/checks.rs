//! What kernels refuse when a step is recorded: numbers that do not fit together, and tensors that are too small.

use std::collections::BTreeSet;
use std::sync::Arc;

use wattle::Error;
use wattle::energy::Phase;
use wattle::fragments::{Activate, Codec, Epilogue, InputNorm, Reduce};
use wattle::kernel::{AnyLaunch, BindingKind, Kernel, Launch, Span};
use wattle::kernels::all_variants;
use wattle::kernels::attention::{Attention, AttentionParams};
use wattle::kernels::attention_merge::{AttentionMerge, AttentionMergeParams};
use wattle::kernels::embed::{Embed, EmbedParams};
use wattle::kernels::expert_plan::MoeSlotParams;
use wattle::kernels::kv_write::{KvWrite, KvWriteParams};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matmul::{Matmul, TileRows};
use wattle::kernels::matvec::{Matvec, VecRows};
use wattle::kernels::moe_combine::{MoeCombine, MoeCombineParams};
use wattle::kernels::moe_count::MoeCount;
use wattle::kernels::moe_place::MoePlace;
use wattle::kernels::moe_route::{MoeRoute, MoeRouteParams};
use wattle::kernels::moe_scan::{MAX_EXPERTS, MoeScan, MoeScanParams};
use wattle::kernels::norm::{Norm, NormParams};
use wattle::kernels::rope::{Rope, RopeParams};
use wattle::kernels::sample_best::{SampleBest, SampleBestParams};
use wattle::kernels::sample_pick::{SamplePick, SamplePickParams};
use wattle::quant::WeightFormat;
use wattle::quant::Width;
use wattle::schedule::{Schedule, Site};

const SITE: Site = Site { sublayer: None, what: "test" };
/// Rows of every pass here.
const ROWS: u32 = 7;

const ATTENTION: AttentionParams = AttentionParams {
    heads: 6,
    kv_heads: 2,
    slots: 20,
    chunk_slots: 9,
    window: 0,
    split_keys: 8,
    max_splits: 4,
    scale: 1.0,
    softcap: 1.0,
};
const MERGE: AttentionMergeParams =
    AttentionMergeParams { heads: 6, head_dim: 10, window: 0, split_keys: 8, max_splits: 4 };
const KV_WRITE: KvWriteParams = KvWriteParams { kv_heads: 2, head_dim: 10, slots: 20, chunk_slots: 9 };
const ROPE: RopeParams = RopeParams { heads: 6, kv_heads: 2, rotary_dim: 4, slots: 9, eps: 1e-6 };
const SLOTS: MoeSlotParams = MoeSlotParams { experts: 5, choices: 3 };
const BEST: SampleBestParams = SampleBestParams { vocab_size: 4097, inverse_temperature: 1.0 };
const PICK: SamplePickParams = SamplePickParams { vocab_size: 4097, max_samples: 11, top_p: 1.0 };

fn attention(phase: Phase) -> Attention {
    Attention { head_dim: 10, softcap: true, phase }
}

fn rope(to_cache: bool) -> Rope {
    Rope { head_dim: 10, qk_norm: true, interleaved: false, to_cache, reduce: Reduce::Workgroup }
}

fn matvec(rows: VecRows, norm: InputNorm, epilogue: Epilogue) -> Matvec {
    Matvec { codec: Codec::Int(Width::Int4), norm, epilogue, rows, reduce: Reduce::Workgroup, lanes: 64 }
}

fn matmul(rows: TileRows, epilogue: Epilogue) -> Matmul {
    Matmul { codec: Codec::F16, epilogue, rows }
}

/// 12 rows of 33 inputs: 8 words of int4 in 2 blocks, 20 words of f16.
fn linear(format: &str) -> LinearParams {
    LinearParams::dense(format.parse().unwrap(), 12, 33)
}

/// The same for 3 of 5 experts, gate and up in pairs.
fn expert(format: &str, slots_per_input: u32) -> LinearParams {
    LinearParams { out_stride: 6, choices: 3, slots_per_input, max_tiles: 5, ..linear(format) }
}

const GATED: Epilogue = Epilogue { activate: Activate::Silu, gated: true, bias: true, residual: false };
const ADDED: Epilogue = Epilogue { activate: Activate::Identity, gated: false, bias: true, residual: true };

fn embed(tokens: u32) -> Launch<Embed> {
    let format: WeightFormat = "int4".parse().unwrap();
    Launch {
        variant: Embed { codec: Codec::Int(Width::Int4) },
        params: EmbedParams::new(format, 33, 5..5 + tokens, 1.0),
    }
}

fn launch<K: Kernel>(variant: K, params: K::Params) -> Arc<dyn AnyLaunch> {
    Launch { variant, params }.shared()
}

/// A launch, and the words that each of its tensors needs for [`ROWS`] rows.
type Case = (Arc<dyn AnyLaunch>, Vec<(&'static str, u64)>);

fn attention_cases() -> Vec<Case> {
    let (q, cache, chunk) = (7 * 6 * 10, 2 * 20 * 10, 2 * 9 * 10);
    let (parts, norm) = (7 * 6 * 4 * 12, 2 * 10);
    let prefill = vec![
        ("q", q),
        ("k_cache", cache),
        ("v_cache", cache),
        ("k_chunk", chunk),
        ("v_chunk", chunk),
        ("out", q),
    ];
    let heads = |kv| {
        let qkv = 7 * (6 + 2 + 2) * 10;
        let ends = [("q_out", q), ("k_out", kv), ("v_out", kv)];
        [vec![("qkv", qkv), ("rope_table", 7 * 2 * 2), ("head_norm", norm)], ends.to_vec()].concat()
    };
    let written = [("k_chunk", chunk), ("v_chunk", chunk), ("k_cache", cache), ("v_cache", cache)];
    vec![
        (launch(attention(Phase::Prefill), ATTENTION), prefill),
        (
            launch(attention(Phase::Decode), ATTENTION),
            vec![("q", q), ("k_cache", cache), ("v_cache", cache), ("parts", parts)],
        ),
        (launch(AttentionMerge, MERGE), vec![("parts", parts), ("out", q)]),
        (launch(KvWrite, KV_WRITE), written.to_vec()),
        (launch(rope(false), ROPE), heads(chunk)),
        // A ring may be shorter than a pass, a chunk may not.
        (launch(rope(true), RopeParams { slots: 3, ..ROPE }), heads(2 * 3 * 10)),
        (launch(rope(false), RopeParams { slots: 3, ..ROPE }), heads(2 * 7 * 10)),
    ]
}

fn linear_cases() -> Vec<Case> {
    let (int4, scales, f16) = (12 * 8, 12 * 2 * 2, 12 * 20);
    let (x, y, gated) = (7 * 33, 7 * 12, 7 * 3 * 6);
    let grouped = TileRows::Grouped { experts: 5 };
    let each = [("words", int4), ("scales", scales)];
    let of_three = [("words", 3 * int4), ("scales", 3 * scales), ("bias", 3 * 12), ("expert_of_slot", 7 * 3)];
    let of_five = [("words", 5 * f16), ("bias", 5 * 12), ("tile_map", 5 * 4), ("slot_of_place", 7 * 3)];
    let into = |end: &[(&'static str, u64)]| [&[("x", x), ("y", gated)], end].concat();
    vec![
        (
            launch(matvec(VecRows::Dense, InputNorm::Layer, ADDED), linear("int4")),
            [&each[..], &[("x", x), ("bias", 12), ("residual", y), ("y", y), ("norm_weight", 66)]].concat(),
        ),
        (
            launch(matvec(VecRows::Last, InputNorm::Rms, Epilogue::NONE), linear("int4")),
            [&each[..], &[("x", x), ("y", 12), ("norm_weight", 33)]].concat(),
        ),
        (launch(matvec(VecRows::Selected, InputNorm::None, GATED), expert("int4", 3)), into(&of_three)),
        (
            launch(matmul(TileRows::Dense, ADDED), linear("f16")),
            vec![("words", f16), ("x", x), ("bias", 12), ("residual", y), ("y", y)],
        ),
        (launch(matmul(grouped, GATED), expert("f16", 3)), into(&of_five)),
        (
            launch(matmul(grouped, GATED), expert("f16", 1)),
            [&[("x", 3 * x), ("y", gated)], &of_five[..]].concat(),
        ),
    ]
}

fn other_cases() -> Vec<Case> {
    let (slots, table) = (7 * 3, 5);
    let rows = 7 * 33;
    let norm = Norm { norm: InputNorm::Layer, residual: true, reduce: Reduce::Workgroup };
    let route = MoeRoute { experts: 5, renormalize: true, reduce: Reduce::Workgroup };
    let best = SampleBest { kept: 5, gumbel: false, reduce: Reduce::Workgroup };
    let combine = MoeCombineParams { hidden_size: 33, choices: 3 };
    vec![
        (embed(9).shared(), vec![("token_ids", 7), ("y", rows), ("words", 9 * 8), ("scales", 9 * 2 * 2)]),
        (
            launch(norm, NormParams { in_features: 33, eps: 1e-6 }),
            vec![("x", rows), ("y", rows), ("residual", rows), ("norm_weight", 66)],
        ),
        (
            launch(route, MoeRouteParams { choices: 3 }),
            vec![("logits", 7 * 5), ("expert_of_slot", slots), ("weight_of_slot", slots)],
        ),
        (launch(MoeCount, SLOTS), vec![("expert_of_slot", slots), ("counts", table)]),
        (
            launch(MoeScan { experts: 5 }, MoeScanParams { choices: 3, max_tiles: 1 }),
            vec![("counts", table), ("offsets", table), ("tile_map", 5 * 4)],
        ),
        (
            launch(MoePlace, SLOTS),
            vec![("expert_of_slot", slots), ("offsets", table), ("slot_of_place", slots)],
        ),
        (
            launch(MoeCombine { residual: true }, combine),
            vec![("expert_rows", 3 * rows), ("weight_of_slot", slots), ("y", rows), ("residual", rows)],
        ),
        (launch(best, BEST), vec![("logits", 4097), ("best", 2 * 5 * 4)]),
        (
            launch(SamplePick { kept: 5 }, PICK),
            vec![("best", 2 * 5 * 4), ("token_ids", 1), ("samples", 11), ("next_span", 4)],
        ),
    ]
}

fn cases() -> Vec<Case> {
    [attention_cases(), linear_cases(), other_cases()].concat()
}

/// Records a launch over tensors of so many bytes.
fn record(
    launch: &Arc<dyn AnyLaunch>,
    rows: u32,
    tensors: impl Iterator<Item = (&'static str, u64)>,
) -> Result<(), Error> {
    let mut schedule = Schedule::new(rows);
    let bound: Vec<_> = tensors.map(|(name, bytes)| (name, schedule.named(name, bytes))).collect();
    schedule.dispatch(SITE, launch.clone(), &bound)
}

#[test]
fn every_kernel_has_a_case() {
    let names = |launches: &mut dyn Iterator<Item = Arc<dyn AnyLaunch>>| {
        launches.map(|launch| launch.name()).collect::<BTreeSet<_>>()
    };
    let covered = names(&mut cases().into_iter().map(|(launch, _)| launch));
    assert_eq!(covered, names(&mut all_variants().into_iter()));
}

#[test]
fn every_storage_binding_has_a_size() {
    for launch in all_variants() {
        let is_storage = |kind| matches!(kind, BindingKind::Read | BindingKind::Write);
        let bindings = launch.bindings().into_iter().filter(|binding| is_storage(binding.kind));
        let mut named: Vec<_> = bindings.map(|binding| binding.name).collect();
        let mut sized: Vec<_> = launch.sizes(ROWS).into_iter().map(|(name, _)| name).collect();
        named.sort_unstable();
        sized.sort_unstable();
        assert_eq!(named, sized, "{}", launch.source());
    }
}

#[test]
fn a_tensor_one_element_too_small_is_refused() {
    for (launch, words) in cases() {
        let what = launch.source().to_string();
        let exact = || words.iter().map(|(name, words)| (*name, 4 * words));
        record(&launch, ROWS, exact()).unwrap_or_else(|error| panic!("{what}: {error}"));
        for (small, words) in &words {
            let short = 4 * (words - 1);
            let tensors = exact().map(|(name, bytes)| (name, if name == *small { short } else { bytes }));
            let error =
                record(&launch, ROWS, tensors).expect_err(&format!("{what}: {small} of {short} bytes"));
            let Error::Shape { kernel, tensor, expected, found } = &error else {
                panic!("{what}: {error:?}")
            };
            assert_eq!((*kernel, tensor.as_str()), (launch.name(), *small), "{what}");
            assert_eq!(*expected, format!("at least {} bytes", 4 * words), "{what}, {small}");
            assert_eq!(*found, format!("'{small}' of {short}"), "{what}, {small}");
        }
    }
}

/// What is accepted can be counted, at the most rows.
#[test]
fn an_accepted_launch_has_a_grid_and_work() {
    for (launch, _) in cases() {
        for position in [0, 19] {
            let span = Span { position, rows: ROWS };
            assert!(launch.workgroups(span) > 0, "{}", launch.source());
            assert!(launch.work(span).total_bytes().least > 0, "{}", launch.source());
        }
    }
}

/// Bytes that a 32-bit index does not reach, and ones that no number counts.
#[test]
fn a_tensor_beyond_indices_is_refused() {
    let long = embed(1 << 29).shared();
    let huge = launch(
        KvWrite,
        KvWriteParams { kv_heads: u32::MAX, head_dim: u32::MAX, slots: u32::MAX, chunk_slots: 9 },
    );
    for (launch, tensor) in [(long, "words"), (huge, "k_chunk")] {
        let sizes = launch.sizes(1);
        let error = record(&launch, 1, sizes.into_iter()).unwrap_err().to_string();
        assert!(error.contains(tensor) && error.contains("at most 8589934592 bytes"), "{error}");
    }
}

#[track_caller]
fn assert_refused<K: Kernel>(variant: K, params: K::Params, option: &str) {
    let launch = launch(variant, params);
    let sizes = launch.sizes(ROWS);
    let Err(error) = record(&launch, ROWS, sizes.into_iter()) else {
        panic!("{option} was accepted: {variant:?}, {params:?}")
    };
    assert!(
        matches!(&error, Error::Shape { kernel, tensor, .. } if *kernel == K::NAME && tensor == option),
        "{option}: {error:?}"
    );
}

#[test]
fn attention_refuses_numbers_that_do_not_fit() {
    let [whole, split] = [Phase::Prefill, Phase::Decode].map(attention);
    assert_refused(whole, AttentionParams { heads: 0, ..ATTENTION }, "heads");
    assert_refused(whole, AttentionParams { kv_heads: 0, ..ATTENTION }, "kv_heads");
    assert_refused(whole, AttentionParams { kv_heads: 4, ..ATTENTION }, "kv_heads");
    assert_refused(whole, AttentionParams { slots: 0, ..ATTENTION }, "slots");
    assert_refused(whole, AttentionParams { chunk_slots: 0, ..ATTENTION }, "chunk_slots");
    assert_refused(whole, AttentionParams { softcap: 0.0, ..ATTENTION }, "softcap");
    assert_refused(split, AttentionParams { split_keys: 0, ..ATTENTION }, "split_keys");
    assert_refused(split, AttentionParams { max_splits: 0, ..ATTENTION }, "max_splits");
    for head_dim in [0, 513] {
        assert_refused(Attention { head_dim, ..whole }, ATTENTION, "head_dim");
        assert_refused(Rope { head_dim, ..rope(true) }, ROPE, "head_dim");
    }
    assert_refused(AttentionMerge, AttentionMergeParams { split_keys: 0, ..MERGE }, "split_keys");
    assert_refused(AttentionMerge, AttentionMergeParams { head_dim: 0, ..MERGE }, "head_dim");
    assert_refused(KvWrite, KvWriteParams { slots: 0, ..KV_WRITE }, "slots");
    assert_refused(KvWrite, KvWriteParams { chunk_slots: 0, ..KV_WRITE }, "chunk_slots");
    assert_refused(rope(true), RopeParams { slots: 0, ..ROPE }, "slots");
    for rotary_dim in [3, 12] {
        assert_refused(rope(true), RopeParams { rotary_dim, ..ROPE }, "rotary_dim");
    }
}

#[test]
fn products_refuse_numbers_that_do_not_fit() {
    let dense = matvec(VecRows::Dense, InputNorm::None, Epilogue::NONE);
    let params = linear("int4");
    for lanes in [0, 48, 512] {
        assert_refused(Matvec { lanes, ..dense }, params, "lanes");
    }
    assert_refused(dense, LinearParams { in_features: 0, ..params }, "in_features");
    assert_refused(dense, LinearParams { out_features: 0, ..params }, "out_features");
    assert_refused(dense, LinearParams { choices: 2, ..params }, "choices");
    assert_refused(dense, LinearParams { slots_per_input: 0, ..params }, "slots_per_input");
    assert_refused(dense, LinearParams { out_offset: 1, ..params }, "out_stride");
    assert_refused(dense, LinearParams { out_offset: u32::MAX, ..params }, "out_stride");
    for row_words in [0, 4, 6] {
        assert_refused(dense, LinearParams { row_words, ..params }, "row_words");
    }
    assert_refused(dense, LinearParams { blocks: 1, ..params }, "blocks");
    assert_refused(dense, LinearParams { block_shift: 32, ..params }, "block_shift");
    let capped = Epilogue { activate: Activate::Softcap, ..Epilogue::NONE };
    assert_refused(Matvec { epilogue: capped, ..dense }, LinearParams { softcap: 0.0, ..params }, "softcap");

    let grouped = matmul(TileRows::Grouped { experts: 5 }, GATED);
    let params = expert("f16", 3);
    assert_refused(grouped, LinearParams { out_features: 11, ..params }, "out_features");
    assert_refused(grouped, LinearParams { slots_per_input: 2, ..params }, "slots_per_input");
    assert_refused(grouped, LinearParams { choices: 6, ..params }, "choices");
    assert_refused(grouped, LinearParams { choices: 0, ..params }, "choices");
    assert_refused(Matmul { rows: TileRows::Grouped { experts: 0 }, ..grouped }, params, "experts");

    let Launch { variant, params } = embed(9);
    assert_refused(variant, EmbedParams { hidden_size: 0, ..params }, "hidden_size");
    assert_refused(variant, EmbedParams { tokens: 0, ..params }, "tokens");
    assert_refused(variant, EmbedParams { first_token: u32::MAX, ..params }, "first_token");
    assert_refused(variant, EmbedParams { row_words: 4, ..params }, "row_words");
}

#[test]
fn the_other_kernels_refuse_numbers_that_do_not_fit() {
    let norm = Norm { norm: InputNorm::Rms, residual: false, reduce: Reduce::Workgroup };
    let params = NormParams { in_features: 4, eps: 1e-6 };
    assert_refused(norm, NormParams { in_features: 0, ..params }, "in_features");
    assert_refused(Norm { norm: InputNorm::None, ..norm }, params, "norm");

    for (experts, choices, option) in
        [(0, 1, "experts"), (4, 0, "choices"), (4, 5, "choices"), (MAX_EXPERTS + 1, 1, "experts")]
    {
        let route = MoeRoute { experts, renormalize: false, reduce: Reduce::Workgroup };
        assert_refused(route, MoeRouteParams { choices }, option);
        assert_refused(MoeScan { experts }, MoeScanParams { choices, max_tiles: 9 }, option);
        if experts <= MAX_EXPERTS {
            assert_refused(MoeCount, MoeSlotParams { experts, choices }, option);
            assert_refused(MoePlace, MoeSlotParams { experts, choices }, option);
        }
    }
    let combine = MoeCombine { residual: false };
    assert_refused(combine, MoeCombineParams { hidden_size: 0, choices: 1 }, "hidden_size");
    assert_refused(combine, MoeCombineParams { hidden_size: 1, choices: 0 }, "choices");

    let best = SampleBest { kept: 5, gumbel: false, reduce: Reduce::Workgroup };
    for kept in [0, 129] {
        assert_refused(SampleBest { kept, ..best }, BEST, "kept");
        assert_refused(SamplePick { kept }, PICK, "kept");
    }
    for vocab_size in [0, (1 << 24) + 1] {
        assert_refused(best, SampleBestParams { vocab_size, ..BEST }, "vocab_size");
        assert_refused(SamplePick { kept: 5 }, SamplePickParams { vocab_size, ..PICK }, "vocab_size");
    }
    assert_refused(SamplePick { kept: 5 }, SamplePickParams { max_samples: 0, ..PICK }, "max_samples");
}
