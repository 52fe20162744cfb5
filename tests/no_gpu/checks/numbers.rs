//! Numbers that do not fit together.

use wattle::Error;
use wattle::energy::Phase;
use wattle::fragments::{
    Activate, CacheFormat, CacheRows, Codec, Epilogue, ExpertWeight, GroupLimit, InputNorm, InputRows,
    LaterRule, MatrixSize, Members, NestedGroups, Queue, Reach, Reduce, RouteRule, Selection, TokenIds,
};
use wattle::kernel::{Kernel, Launch};
use wattle::kernels::altup::{Altup, AltupParams, AltupStep};
use wattle::kernels::attention::{Attention, AttentionParams, Values};
use wattle::kernels::attention_coop::AttentionCoop;
use wattle::kernels::attention_merge::{AttentionMerge, AttentionMergeParams};
use wattle::kernels::embed::EmbedParams;
use wattle::kernels::expert_plan::{ChosenSlots, ExpertShare, MAX_EXPERTS, MoeSlotParams};
use wattle::kernels::kv_write::KvWriteParams;
use wattle::kernels::latent_heads::{LatentHeads, LatentHeadsParams};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matmul::Matmul;
use wattle::kernels::matvec::{Matvec, VecRows, VecTile};
use wattle::kernels::moe_auction::{MoeAuction, MoeAuctionParams};
use wattle::kernels::moe_combine::{CombineSlots, MoeCombine, MoeCombineParams};
use wattle::kernels::moe_count::MoeCount;
use wattle::kernels::moe_expert_choice::{MoeExpertChoice, MoeExpertChoiceParams};
use wattle::kernels::moe_list::{MoeList, MoeListParams};
use wattle::kernels::moe_lookup::{MoeLookup, MoeLookupParams};
use wattle::kernels::moe_place::MoePlace;
use wattle::kernels::moe_priority::{MoePriority, MoePriorityParams};
use wattle::kernels::moe_route::{MoeRoute, MoeRouteParams, RouterLogits};
use wattle::kernels::moe_scan::{MoeScan, MoeScanParams};
use wattle::kernels::moe_scores::{MoeScores, MoeScoresParams};
use wattle::kernels::moe_sinkhorn::{MoeSinkhorn, MoeSinkhornParams};
use wattle::kernels::norm::{Norm, NormParams};
use wattle::kernels::quantize::{Quantize, QuantizeParams};
use wattle::kernels::rope::{Rope, RopeParams};
use wattle::kernels::sample_best::{MAX_VOCAB, SampleBest, SampleBestParams};
use wattle::kernels::sample_pick::{SamplePick, SamplePickParams};
use wattle::kernels::sparse_glu::{SparseGlu, SparseGluParams};
use wattle::kernels::stream_add::{StreamAdd, StreamAddParams};
use wattle::kernels::stream_match::{StreamMatch, StreamMatchParams};
use wattle::kernels::stream_take::{StreamTake, StreamTakeParams};
use wattle::kernels::tile_rows::TileRows;

use super::launches::{
    ALTUP, ATTENTION, BEST, COMBINE, GATED, KV_WRITE, KV_WRITER, LATENT_HEADS, MERGE, MULTIPLIED, PICK, ROPE,
    ROUTE, attention, embed, expert, grouped_i8, in_i8, latent_heads, launch, linear, matmul, matvec,
    on_matrices, quantize, rope,
};
use super::{ROWS, record};

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
    assert_refused(Attention { reach: Reach::Both, ..split }, ATTENTION, "reach");
    assert_refused(Attention { v_is_k: true, ..whole }, ATTENTION, "v_is_k");
    for head_dim in [0, 513] {
        assert_refused(Rope { head_dim, ..rope(Some(CacheRows::PLAIN)) }, ROPE, "head_dim");
    }
    for head_dim in [0, 769] {
        assert_refused(Attention { head_dim, ..whole }, ATTENTION, "head_dim");
    }
    let (size, queries) = (MatrixSize::Eight, AttentionCoop::QUERIES);
    let split = Attention { queries, ..split };
    assert_refused(AttentionCoop { attention: split, size }, ATTENTION, "phase");
    assert_refused(AttentionCoop { attention: whole, size }, ATTENTION, "queries");
    let narrow = Attention { head_dim: 0, queries, ..whole };
    assert_refused(AttentionCoop { attention: narrow, size }, ATTENTION, "head_dim");
    let merge = AttentionMerge { reach: Reach::Window, sinks: false };
    assert_refused(AttentionMerge { reach: Reach::Both, ..merge }, MERGE, "reach");
    let of_encoder = AttentionMerge { reach: Reach::Encoder, ..merge };
    assert_refused(of_encoder, AttentionMergeParams { slots: 0, ..MERGE }, "slots");
    assert_refused(merge, AttentionMergeParams { split_keys: 0, ..MERGE }, "split_keys");
    assert_refused(merge, AttentionMergeParams { head_dim: 0, ..MERGE }, "head_dim");
    for values in [Values::Own(0), Values::Own(513), Values::InKeys(11)] {
        assert_refused(Attention { values, ..whole }, ATTENTION, "values");
    }
    assert_refused(KV_WRITER, KvWriteParams { slots: 0, ..KV_WRITE }, "slots");
    assert_refused(KV_WRITER, KvWriteParams { chunk_slots: 0, ..KV_WRITE }, "chunk_slots");
    let latent = latent_heads(Some(CacheFormat::Int8));
    assert_refused(LatentHeads { key_dim: 34, ..latent }, LATENT_HEADS, "key_dim");
    assert_refused(latent, LatentHeadsParams { heads: 0, ..LATENT_HEADS }, "heads");
    assert_refused(latent, LatentHeadsParams { nope_dim: 0, ..LATENT_HEADS }, "nope_dim");
    assert_refused(latent, LatentHeadsParams { slots: 0, ..LATENT_HEADS }, "slots");
    assert_refused(latent, LatentHeadsParams { in_features: 513, ..LATENT_HEADS }, "in_features");
    assert_refused(latent, LatentHeadsParams { rotary_dim: 3, ..LATENT_HEADS }, "rotary_dim");
    assert_refused(latent, LatentHeadsParams { row_words: 7, ..LATENT_HEADS }, "row_words");
    assert_refused(rope(Some(CacheRows::PLAIN)), RopeParams { slots: 0, ..ROPE }, "slots");
    assert_refused(rope(Some(CacheRows::PLAIN)), RopeParams { kv_heads: 0, ..ROPE }, "kv_heads");
    let only_q = Rope { only_q: true, ..rope(None) };
    assert_refused(only_q, ROPE, "kv_heads");
    assert_refused(Rope { v_norm: true, ..only_q }, RopeParams { kv_heads: 0, ..ROPE }, "only_q");
    for rotary_dim in [3, 12] {
        assert_refused(rope(Some(CacheRows::PLAIN)), RopeParams { rotary_dim, ..ROPE }, "rotary_dim");
    }
}

#[test]
fn products_refuse_numbers_that_do_not_fit() {
    let dense = matvec(VecRows::DENSE, InputNorm::None, Epilogue::NONE);
    let params = linear("int4");
    let tile = dense.tile;
    for lanes in [0, 48, 512] {
        assert_refused(Matvec { tile: VecTile { lanes, ..tile }, ..dense }, params, "lanes");
    }
    assert_refused(Matvec { tile: VecTile { team: 2, ..tile }, ..dense }, params, "team");
    assert_refused(Matvec { tile: VecTile { outputs: 6, ..tile }, ..dense }, params, "outputs");
    assert_refused(Matvec { tile: VecTile { rows: 2, ..tile }, ..dense }, params, "rows");
    let of_four = VecTile { rows: 4, ..tile };
    for one_row in [Matvec { norm: InputNorm::Rms, ..dense }, Matvec { rows: VecRows::Selected, ..dense }] {
        assert_refused(Matvec { tile: of_four, ..one_row }, params, "rows");
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

    let multiplied = Matvec { epilogue: MULTIPLIED, ..dense };
    assert_refused(
        multiplied,
        LinearParams { factor_stride: 12, factor_offset: 1, ..params },
        "factor_stride",
    );
    let pairs = Matvec { epilogue: Epilogue { factor: true, ..GATED }, ..dense };
    assert_refused(pairs, LinearParams { factor_stride: 12, ..params }, "factor");

    let of_heads = matmul(TileRows::Heads(4), Epilogue::NONE);
    assert_refused(of_heads, expert("f16", 1), "choices");
    let grouped = matmul(TileRows::Grouped { experts: 5 }, GATED);
    let params = expert("f16", 3);
    assert_refused(grouped, LinearParams { out_features: 11, ..params }, "out_features");
    assert_refused(grouped, LinearParams { slots_per_input: 2, ..params }, "slots_per_input");
    assert_refused(grouped, LinearParams { choices: 6, ..params }, "choices");
    assert_refused(grouped, LinearParams { choices: 0, ..params }, "choices");
    assert_refused(Matmul { rows: TileRows::Grouped { experts: 0 }, ..grouped }, params, "experts");
    for count in [0, 6] {
        let part = Members { count, of: 5 };
        assert_refused(matvec(VecRows::SelectedOf(part), InputNorm::None, GATED), params, "members");
        assert_refused(matmul(TileRows::GroupedOf(part), GATED), params, "members");
        let tiles = VecRows::Tiles(TileRows::GroupedOf(part));
        assert_refused(matvec(tiles, InputNorm::None, GATED), params, "members");
    }
    let part = TileRows::GroupedOf(Members { count: 1, of: 5 });
    assert_refused(Matmul { rows: part, ..grouped }, LinearParams { choices: 6, ..params }, "choices");
    assert_refused(on_matrices(grouped), LinearParams { choices: 6, ..params }, "choices");
    assert_refused(on_matrices(Matmul { codec: Codec::F32, ..grouped }), params, "codec");

    let normed = in_i8(matvec(VecRows::DENSE, InputNorm::Rms, Epilogue::NONE));
    assert_refused(normed, linear("int4"), "norm");
    assert_refused(Matvec { codec: Codec::F16, ..in_i8(dense) }, linear("f16"), "codec");
    let sorted = matvec(VecRows::Tiles(TileRows::Grouped { experts: 5 }), InputNorm::Rms, Epilogue::NONE);
    assert_refused(sorted, expert("int4", 1), "norm");
    assert_refused(Matmul { inputs: InputRows::I8, ..grouped }, params, "codec");
    let codes = grouped_i8(TileRows::Grouped { experts: 5 });
    assert_refused(on_matrices(codes), expert("int4", 3), "inputs");

    let Launch { variant, params } = embed(9);
    assert_refused(variant, EmbedParams { in_features: 0, ..params }, "in_features");
    assert_refused(variant, EmbedParams { tokens: 0, ..params }, "tokens");
    assert_refused(variant, EmbedParams { first_token: u32::MAX, ..params }, "first_token");
    assert_refused(variant, EmbedParams { row_words: 4, ..params }, "row_words");
}

#[test]
fn the_other_kernels_refuse_numbers_that_do_not_fit() {
    let norm =
        Norm { norm: InputNorm::Rms, residual: false, kept: false, scaled: false, reduce: Reduce::Workgroup };
    let params = NormParams { in_features: 4, eps: 1e-6, rows_per_token: 1, factor: 1.0 };
    assert_refused(norm, NormParams { in_features: 0, ..params }, "in_features");
    assert_refused(norm, NormParams { rows_per_token: 0, ..params }, "rows_per_token");
    assert_refused(Norm { norm: InputNorm::None, ..norm }, params, "norm");

    assert_refused(Norm { kept: true, ..norm }, params, "kept");

    let altup = Altup { streams: 3, step: AltupStep::Predict, reduce: Reduce::Workgroup };
    assert_refused(Altup { streams: 9, ..altup }, ALTUP, "streams");
    assert_refused(altup, AltupParams { width: 0, ..ALTUP }, "width");
    assert_refused(altup, AltupParams { active_stream: 3, ..ALTUP }, "active_stream");
    assert_refused(altup, AltupParams { router_stride: 32, ..ALTUP }, "router_stride");
    assert_refused(altup, AltupParams { mixing_stride: 2, ..ALTUP }, "mixing_stride");
    let start = StreamMatch { streams: 2, mean: false, reduce: Reduce::Workgroup };
    let params = StreamMatchParams { width: 4, x_stride: 4, least_square: 1e-5 };
    assert_refused(StreamMatch { streams: 1, ..start }, params, "streams");
    assert_refused(start, StreamMatchParams { x_stride: 3, ..params }, "x_stride");
    assert_refused(start, StreamMatchParams { least_square: 0.0, ..params }, "least_square");
    let add = StreamAdd { streams: 2, norm: InputNorm::Rms, reduce: Reduce::Workgroup };
    let params = StreamAddParams { in_features: 4, eps: 1e-6 };
    assert_refused(StreamAdd { streams: 9, ..add }, params, "streams");
    assert_refused(StreamAdd { norm: InputNorm::Affine, ..add }, params, "norm");
    assert_refused(add, StreamAddParams { in_features: 0, ..params }, "in_features");
    assert_refused(StreamTake, StreamTakeParams { width: 4, count: 2, stream: 2 }, "stream");
    let sparse = SparseGlu { activate: Activate::Silu, reduce: Reduce::Workgroup };
    let params = SparseGluParams { width: 4, deviations: 0.0 };
    assert_refused(sparse, SparseGluParams { width: 0, ..params }, "width");
    assert_refused(SparseGlu { activate: Activate::ClampedGlu, ..sparse }, params, "activate");

    let params = QuantizeParams::new(33, 1, 0.0);
    let variant = quantize(InputNorm::None);
    assert_refused(variant, QuantizeParams { in_features: 0, ..params }, "in_features");
    assert_refused(variant, QuantizeParams { rows_per_token: 0, ..params }, "rows_per_token");
    assert_refused(Quantize { inputs: InputRows::Quads, ..variant }, params, "in_features");
    assert_refused(Quantize { inputs: InputRows::I8, ..variant }, params, "inputs");

    for (experts, choices, option) in
        [(0, 1, "experts"), (4, 0, "choices"), (4, 5, "choices"), (MAX_EXPERTS + 1, 1, "experts")]
    {
        let route = MoeRoute::new(experts, RouteRule::SOFTMAX);
        let params = MoeRouteParams { choices, logit_stride: experts, ..ROUTE };
        assert_refused(route, params, option);
        assert_refused(MoeScan { experts, limited: false }, MoeScanParams::new(choices, 9), option);
        if experts <= MAX_EXPERTS {
            assert_refused(
                MoeCount { experts, queue: Queue::TokenMajor },
                MoeSlotParams::new(experts, choices),
                option,
            );
            assert_refused(MoePlace::ALL, MoeSlotParams::new(experts, choices), option);
        }
    }
    let group = |groups, limit, two_best| RouteRule {
        groups: Some(GroupLimit { groups, limit, two_best }),
        ..RouteRule::SOFTMAX
    };
    let mixer = RouteRule { weight: ExpertWeight::SparseMixer, ..group(2, 1, false) };
    for (rule, option) in [
        (group(3, 1, false), "groups"),
        (group(0, 1, false), "groups"),
        (group(2, 3, false), "limit"),
        (group(4, 2, false), "limit"),
        (group(2, 1, true), "selection"),
        (RouteRule { selection: Selection::Scores, ..group(8, 8, true) }, "groups"),
        (mixer, "selection"),
    ] {
        let route = MoeRoute::new(8, rule);
        assert_refused(
            route,
            MoeRouteParams { choices: if option == "limit" { 5 } else { 3 }, logit_stride: 8, ..ROUTE },
            option,
        );
    }
    let route = MoeRoute::new(8, RouteRule::SOFTMAX);
    assert_refused(route, MoeRouteParams { logit_stride: 7, ..ROUTE }, "logit_stride");
    for lanes in [2, 24, 512] {
        assert_refused(MoeRoute { lanes, ..route }, MoeRouteParams::new(3, 8), "lanes");
    }
    let combine = MoeCombine { residual: false, shared: true, weighted: true, slots: CombineSlots::All };
    assert_refused(combine, MoeCombineParams { hidden_size: 0, ..COMBINE }, "hidden_size");
    assert_refused(combine, MoeCombineParams { choices: 0, ..COMBINE }, "choices");
    assert_refused(combine, MoeCombineParams { gate_offset: 6, ..COMBINE }, "gate_offset");

    let best = SampleBest { kept: 5, gumbel: false, reduce: Reduce::Workgroup };
    let pick = SamplePick { kept: 5, renormalize: true };
    for kept in [0, 129] {
        assert_refused(SampleBest { kept, ..best }, BEST, "kept");
        assert_refused(SamplePick { kept, ..pick }, PICK, "kept");
    }
    for vocab_size in [0, MAX_VOCAB + 1] {
        assert_refused(best, SampleBestParams { vocab_size, ..BEST }, "vocab_size");
        assert_refused(pick, SamplePickParams { vocab_size, ..PICK }, "vocab_size");
    }
    assert_refused(pick, SamplePickParams { max_samples: 0, ..PICK }, "max_samples");
    assert_refused(SamplePick { kept: 1, renormalize: false }, PICK, "renormalize");
}

/// What the kernels of routing refuse.
#[test]
fn routings_that_do_not_fit_are_refused() {
    let slots = MoeSlotParams::new(8, 2);
    assert_refused(MoePlace { limited: true, marked: false, ..MoePlace::ALL }, slots, "marked");
    let limited = MoePlace { limited: true, marked: true, ..MoePlace::ALL };
    for share in [(1, 0, 0), (1 << 16, 1 << 16, 0), (1, 4, 4), (5000, 1, 0)] {
        let share = ExpertShare { numerator: share.0, denominator: share.1, round: share.2 };
        assert_refused(limited, MoeSlotParams::within(8, 2, share), "share_denominator");
        let scan = MoeScan { experts: 8, limited: true };
        assert_refused(scan, MoeScanParams::within(2, 9, share), "share_denominator");
        let chosen = ChosenSlots { experts: 8, share };
        assert_refused(
            MoeExpertChoice { reduce: Reduce::Workgroup },
            MoeExpertChoiceParams::new(chosen, 9),
            "share_denominator",
        );
        let quantize = Quantize { chosen: true, ..quantize(InputNorm::None) };
        assert_refused(quantize, QuantizeParams::chosen(33, chosen), "share_denominator");
    }
    let chosen = Quantize { chosen: true, last: true, ..quantize(InputNorm::None) };
    assert_refused(chosen, QuantizeParams::new(33, 1, 0.0), "last");

    let of = |rule| MoeRoute::new(8, rule);
    let params = MoeRouteParams::new(3, 8);
    let later = RouteRule { later: LaterRule::AtLeast, ..RouteRule::SOFTMAX };
    assert_refused(of(later), params, "later_share");
    assert_refused(of(RouteRule { expert_scale: true, ..later }), params, "expert_scale");
    let noise = RouteRule { noise: true, ..RouteRule::SOFTMAX };
    assert_refused(of(noise), MoeRouteParams { second_offset: 8, ..params }, "logit_stride");
    let nested = |groups, top_groups| RouteRule {
        weight: ExpertWeight::Logit,
        nested: Some(NestedGroups { groups, top_groups }),
        ..RouteRule::SOFTMAX
    };
    let params = MoeRouteParams { second_offset: 8, ..MoeRouteParams::new(4, 16) };
    for (rule, option) in [
        (nested(3, 1), "groups"),
        (nested(4, 5), "top_groups"),
        (nested(4, 1), "choices"),
        (RouteRule { nested: None, ..nested(4, 2) }, "weight"),
        (RouteRule { renormalize: true, ..nested(4, 2) }, "nested"),
    ] {
        assert_refused(of(rule), params, option);
    }
    let many = GroupLimit { groups: 1024, limit: 1024, two_best: false };
    let route = MoeRoute { experts: 1024, ..of(RouteRule { groups: Some(many), ..RouteRule::SOFTMAX }) };
    assert_refused(route, MoeRouteParams::new(3, 1024), "groups");
    let computed = RouterLogits::Computed { inputs: InputRows::Any, norm: InputNorm::None, bias: false };
    let route = MoeRoute { logits: computed, ..of(RouteRule::SOFTMAX) };
    let params = MoeRouteParams { in_features: 33, row_quads: 9, ..MoeRouteParams::new(3, 8) };
    assert_refused(route, MoeRouteParams { in_features: 0, ..params }, "in_features");
    assert_refused(route, MoeRouteParams { row_quads: 8, ..params }, "row_quads");
    let large = MoeRoute { experts: 513, ..route };
    assert_refused(large, MoeRouteParams { logit_stride: 513, ..params }, "experts");

    for experts in [0, MAX_EXPERTS + 1] {
        let (stride, lookup) = (experts, MoeLookupParams { experts, choices: 1, seed: 0 });
        let scores = MoeScores { experts, reduce: Reduce::Workgroup };
        assert_refused(scores, MoeScoresParams { logit_stride: stride }, "experts");
        assert_refused(
            MoeSinkhorn { experts },
            MoeSinkhornParams { logit_stride: stride, iterations: 8 },
            "experts",
        );
        let auction = MoeAuctionParams { logit_stride: stride, epsilon: 1e-3, max_rounds: 9 };
        assert_refused(MoeAuction { experts }, auction, "experts");
        assert_refused(MoeList, MoeListParams { experts }, "experts");
        if experts == 0 {
            assert_refused(MoeLookup::Token(TokenIds::ByRow), lookup, "experts");
        }
    }
    assert_refused(
        MoeSinkhorn { experts: 4 },
        MoeSinkhornParams { logit_stride: 3, iterations: 8 },
        "logit_stride",
    );
    assert_refused(
        MoeSinkhorn { experts: 4 },
        MoeSinkhornParams { logit_stride: 4, iterations: 1001 },
        "iterations",
    );
    // A CPU ends loops without a word.
    let wide = MoeSinkhorn { experts: 512 };
    let turns = wide.check_turns(4096, 4, true).expect_err("too many turns").to_string();
    assert!(turns.contains("turns of loops"), "{turns}");
    wide.check_turns(4096, 3, true).unwrap();
    wide.check_turns(4096, 1000, false).unwrap();
    let auction = MoeAuction { experts: 1024 };
    let turns = auction.max_rounds(16_384, true).expect_err("too many turns").to_string();
    assert!(turns.contains("tokens of a pass"), "{turns}");
    assert!(auction.max_rounds(16_384, false).unwrap() > 1 && auction.max_rounds(4096, true).unwrap() > 1);
    let auction = MoeAuctionParams { logit_stride: 4, epsilon: 0.0, max_rounds: 9 };
    assert_refused(MoeAuction { experts: 4 }, auction, "epsilon");
    let lookup = MoeLookupParams { experts: 4, choices: 5, seed: 0 };
    assert_refused(MoeLookup::Random, lookup, "choices");
    assert_refused(MoePriority, MoePriorityParams { choices: 0 }, "choices");
}
