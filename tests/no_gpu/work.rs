//! What a variant of a kernel adds to its work.

use wattle::energy::{ByteClass, OpClass, Phase, Work};
use wattle::fragments::{ExpertWeight, GroupLimit, MatrixSize, Reach, RouteRule, ScoreBias, Selection};
use wattle::kernel::{Kernel, Span};
use wattle::kernels::attention::{Attention, AttentionParams, split_keys};
use wattle::kernels::attention_coop::AttentionCoop;
use wattle::kernels::attention_merge::{AttentionMerge, AttentionMergeParams};
use wattle::kernels::moe_route::{MoeRoute, MoeRouteParams};
use wattle::kernels::rope::{QkNorm, Rope, RopeParams};

/// Six heads with keys of their own.
const PROMPT: AttentionParams = AttentionParams {
    heads: 6,
    kv_heads: 6,
    slots: 64,
    pages: 0,
    chunk_slots: 16,
    reach: 0,
    split_keys: 32,
    max_splits: 2,
    scale: 1.0,
    softcap: 0.0,
    alibi_scale: 1.0,
};

/// Counted by hand for 3 tokens of 8 experts, of which 2 are chosen.
#[test]
fn a_router_counts_what_its_rule_asks_for() {
    let counts = |rule| {
        let params = MoeRouteParams::new(2, 8);
        let work = MoeRoute::new(8, rule).work(&params, Span { position: 0, rows: 3 });
        let weights = work.bytes_of(ByteClass::Weight);
        (work.ops_of(OpClass::Sfu).least, [weights.least, weights.most], work.ops_of(OpClass::F32Other).most)
    };
    let softmax = RouteRule::SOFTMAX;
    // An exponential of every logit, and one more of those chosen.
    assert_eq!(counts(softmax), (24 + 6, [0, 0], 6 * 8));
    // A score of every expert.
    let scores = RouteRule { selection: Selection::Scores, ..softmax };
    assert_eq!(counts(scores), (24 + 6 + 24, [0, 0], 6 * 8));
    let biased =
        RouteRule { weight: ExpertWeight::Sigmoid, selection: Selection::Biased, ..RouteRule::SOFTMAX };
    assert_eq!(counts(biased), (6 + 24, [8 * 4, 3 * 8 * 4], 6 * 8));
    // Every score of a group, and every pair of groups.
    let groups = Some(GroupLimit { groups: 4, limit: 2, two_best: false });
    assert_eq!(counts(RouteRule { groups, ..biased }).2, 6 * 8 + 24 + 3 * 16);
    // Factors are read for the chosen alone.
    let scaled = RouteRule { expert_scale: true, ..softmax };
    assert_eq!(counts(scaled), (24 + 6, [6 * 4, 6 * 4], 6 * 8));
}

fn of_prefill(score_bias: ScoreBias, sinks: bool) -> Attention {
    Attention { score_bias, sinks, ..Attention::new(10, Phase::Prefill) }
}

/// A logit of each head, and two exponentials of each output head.
#[test]
fn sinks_are_counted_where_outputs_are_final() {
    let added = |with: Work, without: Work| {
        let bytes = |work: &Work| work.bytes_of(ByteClass::Weight);
        let exps = |work: &Work| work.ops_of(OpClass::Sfu).least;
        assert_eq!(bytes(&without).most, 0);
        ([bytes(&with).least, bytes(&with).most], exps(&with) - exps(&without))
    };
    let params = AttentionParams { kv_heads: 2, ..PROMPT };
    let prefill = |sinks| of_prefill(ScoreBias::None, sinks).work(&params, Span { position: 7, rows: 3 });
    assert_eq!(added(prefill(true), prefill(false)), ([6 * 4, 3 * 6 * 10 * 4], 2 * 3 * 6));
    let params =
        AttentionMergeParams { heads: 6, head_dim: 10, reach: 0, split_keys: 32, max_splits: 2, slots: 20 };
    let merge =
        |sinks| AttentionMerge { reach: Reach::Window, sinks }.work(&params, Span { position: 7, rows: 1 });
    assert_eq!(added(merge(true), merge(false)), ([6 * 4, 6 * 10 * 4], 2 * 6));
}

/// Falcon 7B, Llama 3 8B, Gemma 3 1B: a step requests no byte of the cache twice.
#[test]
fn a_step_reads_keys_once_for_all_heads() {
    for (heads, kv_heads, head_dim) in [(71, 1, 64), (32, 8, 128), (4, 1, 256)] {
        let split_keys = split_keys(head_dim);
        let (slots, max_splits) = (5000, 5000u32.div_ceil(split_keys));
        let params = AttentionParams { heads, kv_heads, slots, split_keys, max_splits, ..PROMPT };
        let step = Attention::new(head_dim, Phase::Decode).for_heads(heads, kv_heads);
        let read = step.work(&params, Span { position: 4999, rows: 1 }).bytes_of(ByteClass::KvRead);
        let once = 5000 * 2 * u64::from(kv_heads * head_dim) * 4;
        assert_eq!([read.least, read.most], [once; 2], "{heads} heads");
    }
}

/// On matrices of 8 by 8 a tile of 32 queries and 32 keys is multiplied whole, 10 elements as 16; what must be computed is the same.
#[test]
fn matrices_multiply_what_fills_them_up() {
    let attention = of_prefill(ScoreBias::None, false);
    let on_matrices = AttentionCoop::of(attention, MatrixSize::Eight).unwrap();
    let params = PROMPT;
    let span = Span { position: 7, rows: 3 };
    let [lanes, matrices] = [attention.work(&params, span), on_matrices.work(&params, span)];
    let (by_lanes, by_matrices) = (lanes.ops_of(OpClass::F32Fma), matrices.ops_of(OpClass::CoopFma));
    assert_eq!([by_lanes.least, by_matrices.least], [27 * 6 * (10 + 10); 2]);
    assert_eq!(by_matrices.most, 6 * 32 * 32 * (16 + 16));
    assert_eq!(matrices.ops_of(OpClass::F32Fma).most, 0);
    // Queries are compared once, and read and scaled with every tile of keys; 60 of them are two.
    for (position, tiles) in [(7, 1), (57, 2)] {
        let work = on_matrices.work(&params, Span { position, rows: 3 });
        let queries = 6 * 32 * 10;
        assert_eq!(work.bytes_of(ByteClass::ActIn).most, 4 * (1 + tiles) * queries);
        assert_eq!(work.ops_of(OpClass::F32Other).most, (1 + tiles) * queries);
    }
    assert_eq!(matrices.bytes_of(ByteClass::KvRead), lanes.bytes_of(ByteClass::KvRead));
}

/// A power of two and three products or differences for every score: 3 rows after 7 see 8, 9 and 10 keys, in 6 heads.
#[test]
fn alibi_is_counted_for_every_score() {
    let params = PROMPT;
    let work = |bias| of_prefill(bias, false).work(&params, Span { position: 7, rows: 3 });
    let [without, with] = [ScoreBias::None, ScoreBias::Alibi { bf16: false }].map(work);
    let added = |class| with.ops_of(class).least - without.ops_of(class).least;
    assert_eq!([added(OpClass::Sfu), added(OpClass::F32Other)], [27 * 6, 3 * 27 * 6]);
}

/// A LayerNorm of heads goes over them twice, and has a shift for each scale.
#[test]
fn head_norms_are_counted_by_kind() {
    let params = RopeParams {
        heads: 6,
        kv_heads: 2,
        rotary_dim: 4,
        slots: 9,
        pages: 0,
        eps: 1e-6,
        clip: f32::MAX,
        temperature_scale: 0.0,
        temperature_floor: 0,
    };
    let counts = |qk_norm| {
        let work = Rope { qk_norm, ..Rope::new(10) }.work(&params, Span { position: 0, rows: 3 });
        [work.bytes_of(ByteClass::Weight).least, work.ops_of(OpClass::F32Fma).least]
    };
    assert_eq!(counts(QkNorm::Head), [4 * 2 * 10, 3 * 8 * 10]);
    assert_eq!(counts(QkNorm::Layer { by_head: false }), [4 * 2 * 2 * 10, 2 * 3 * 8 * 10]);
    assert_eq!(counts(QkNorm::Layer { by_head: true }), [4 * 2 * 8 * 10, 2 * 3 * 8 * 10]);
}
