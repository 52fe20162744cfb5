//! Every kernel, and what each of its tensors holds.

use std::sync::Arc;

use wattle::energy::Phase;
use wattle::fragments::{
    Activate, CacheRows, Epilogue, InputNorm, Members, Queue, Reach, Reduce, RouteRule, Selection, TokenIds,
};
use wattle::kernel::{AnyLaunch, SPAN_BYTES};
use wattle::kernels::altup::{Altup, AltupStep};
use wattle::kernels::attention_merge::AttentionMerge;
use wattle::kernels::kv_write::KvWrite;
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matvec::VecRows;
use wattle::kernels::moe_auction::{MoeAuction, MoeAuctionParams};
use wattle::kernels::moe_combine::{CombineSlots, MoeCombine, MoeCombineParams};
use wattle::kernels::moe_count::MoeCount;
use wattle::kernels::moe_expert_choice::{MoeExpertChoice, MoeExpertChoiceParams};
use wattle::kernels::moe_list::{MoeList, MoeListParams};
use wattle::kernels::moe_lookup::{MoeLookup, MoeLookupParams};
use wattle::kernels::moe_place::MoePlace;
use wattle::kernels::moe_priority::{MoePriority, MoePriorityParams};
use wattle::kernels::moe_route::MoeRoute;
use wattle::kernels::moe_scan::{MoeScan, MoeScanParams};
use wattle::kernels::moe_scores::{MoeScores, MoeScoresParams};
use wattle::kernels::moe_sinkhorn::{MoeSinkhorn, MoeSinkhornParams};
use wattle::kernels::norm::{Norm, NormParams};
use wattle::kernels::quantize::{Quantize, QuantizeParams};
use wattle::kernels::rope::{QkNorm, Rope, RopeParams};
use wattle::kernels::sample_best::SampleBest;
use wattle::kernels::sample_pick::SamplePick;
use wattle::kernels::slice::Slice;
use wattle::kernels::sparse_glu::{SparseGlu, SparseGluParams};
use wattle::kernels::stream_add::{StreamAdd, StreamAddParams};
use wattle::kernels::stream_match::{StreamMatch, StreamMatchParams};
use wattle::kernels::stream_take::{StreamTake, StreamTakeParams};
use wattle::kernels::tile_rows::TileRows;
use wattle::quant::Width;

use super::launches::{
    ADDED, ALTUP, ATTENTION, BEST, CHOSEN, COMBINE, GATED, KV_WRITE, KV_WRITER, LATENT_HEADS, MERGE,
    MULTIPLIED, PICK, ROPE, ROUTE, SLOTS, WEIGHTED, attention, attention_on_matrices, embed, expert,
    grouped_i8, in_i8, latent_heads, launch, linear, matmul, matvec, on_matrices, positions, quantize, rope,
};

/// A launch, and the words that each of its tensors needs for [`super::ROWS`] rows.
pub type Case = (Arc<dyn AnyLaunch>, Vec<(&'static str, u64)>);

fn attention_cases() -> Vec<Case> {
    let (q, cache, chunk) = (7 * 6 * 10, 2 * 20 * 10, 2 * 9 * 10);
    // Two elements in a word.
    let halves = cache / 2;
    let (parts, norm) = (7 * 6 * 4 * 12, 2 * 10);
    let prefill = vec![
        ("sinks", 6),
        ("q", q),
        ("k_cache", halves),
        ("v_cache", halves),
        ("k_chunk", chunk),
        ("v_chunk", chunk),
        ("out", q),
        ("page_table", 3),
    ];
    let heads = |kv, norm| {
        let qkv = 7 * (6 + 2 + 2) * 10;
        let ends = [("q_out", q), ("k_out", kv), ("v_out", kv)];
        [vec![("qkv", qkv), ("rope_table", 7 * 2 * 2), ("head_norm", norm)], ends.to_vec()].concat()
    };
    let (qk, of_all) = (7 * (6 + 2) * 10, (6 + 2) * 10);
    let shared = vec![
        ("qkv", qk),
        ("rope_table", 7 * 2 * 2),
        ("head_norm", of_all),
        ("q_out", q),
        ("k_out", chunk),
        ("v_out", chunk),
    ];
    let layer = |by_head| Rope { qk_norm: QkNorm::Layer { by_head }, ..rope(None) };
    let of_shared = Rope { qk_norm: QkNorm::AllHeads, v_is_k: true, ..rope(None) };
    let written = [("k_chunk", chunk), ("v_chunk", chunk), ("k_out", cache), ("v_out", cache)];
    vec![
        (launch(attention(Phase::Prefill), ATTENTION), prefill.clone()),
        (launch(attention_on_matrices(), ATTENTION), prefill),
        (
            launch(attention(Phase::Decode), ATTENTION),
            vec![("q", q), ("k_cache", halves), ("v_cache", halves), ("parts", parts), ("page_table", 3)],
        ),
        (
            launch(AttentionMerge { reach: Reach::Window, sinks: true }, MERGE),
            vec![("parts", parts), ("out", q), ("sinks", 6)],
        ),
        (launch(KV_WRITER, KV_WRITE), written.to_vec()),
        (launch(KvWrite { values: false, ..KV_WRITER }, KV_WRITE), vec![written[0], written[2]]),
        (launch(rope(None), ROPE), heads(chunk, norm)),
        // A scale and a shift for each element of a head, Q's and K's or of each head.
        (launch(layer(false), ROPE), heads(chunk, 2 * norm)),
        (launch(layer(true), ROPE), heads(chunk, 2 * of_all)),
        (launch(of_shared, ROPE), shared),
        // Queries alone, and the scale of their norm alone.
        (
            launch(Rope { only_q: true, ..rope(None) }, RopeParams { kv_heads: 0, ..ROPE }),
            vec![("qkv", q), ("rope_table", 7 * 2 * 2), ("q_out", q), ("head_norm", 10)],
        ),
        (
            launch(latent_heads(None), LATENT_HEADS),
            vec![
                ("words", 6 * 4 * 8),
                ("scales", 6 * 4 * 2 * 2),
                ("q", 7 * 6 * (4 + 2)),
                ("latent", 7 * (33 + 2)),
                ("latent_norm", 33),
                ("rope_table", 7 * 2),
                ("q_out", 7 * 6 * (33 + 2)),
                ("k_out", 9 * (33 + 2)),
            ],
        ),
        // A ring may be shorter than a pass, a chunk may not.
        (launch(rope(Some(CacheRows::PLAIN)), RopeParams { slots: 3, ..ROPE }), heads(2 * 3 * 10, norm)),
        (launch(rope(None), RopeParams { slots: 3, ..ROPE }), heads(2 * 7 * 10, norm)),
    ]
}

fn linear_cases() -> Vec<Case> {
    let (int4, scales, f16) = (12 * 8, 12 * 2 * 2, 12 * 24);
    let (x, y, gated) = (7 * 33, 7 * 12, 7 * 3 * 6);
    let grouped = TileRows::Grouped { experts: 5 };
    let two = Members { count: 2, of: 5 };
    let each = [("words", int4), ("scales", scales)];
    let of_three = [("words", 3 * int4), ("scales", 3 * scales), ("bias", 3 * 12), ("expert_of_slot", 7 * 3)];
    let of_five = [("words", 5 * f16), ("bias", 5 * 12), ("tile_map", 5 * 4), ("slot_of_place", 7 * 3)];
    let of_two = [
        ("words", 2 * int4),
        ("scales", 2 * scales),
        ("bias", 2 * 12),
        ("expert_of_slot", 7 * 3),
        ("place_of_expert", 5),
    ];
    let two_of_five = [
        ("words", 2 * f16),
        ("bias", 2 * 12),
        ("tile_map", 5 * 4),
        ("slot_of_place", 7 * 3),
        ("place_of_expert", 5),
    ];
    let into = |end: &[(&'static str, u64)]| [&[("x", x), ("y", gated)], end].concat();
    vec![
        (
            launch(matvec(VecRows::DENSE, InputNorm::Layer, ADDED), linear("int4")),
            [&each[..], &[("x", x), ("bias", 12), ("residual", y), ("y", y), ("norm_weight", 66)]].concat(),
        ),
        (
            launch(
                matvec(VecRows::DENSE, InputNorm::None, MULTIPLIED),
                LinearParams { factor_stride: 30, factor_offset: 18, ..linear("int4") },
            ),
            [&each[..], &[("x", x), ("factors", 7 * 30), ("y", y)]].concat(),
        ),
        (
            launch(matvec(VecRows::Last, InputNorm::Rms, Epilogue::NONE), linear("int4")),
            [&each[..], &[("x", x), ("y", 12), ("norm_weight", 33)]].concat(),
        ),
        (launch(matvec(VecRows::Selected, InputNorm::None, GATED), expert("int4", 3)), into(&of_three)),
        (
            launch(matvec(VecRows::Selected, InputNorm::None, WEIGHTED), expert("int4", 3)),
            into(&[&of_three[..2], &[("expert_of_slot", 7 * 3), ("weight_of_slot", 7 * 3)]].concat()),
        ),
        (launch(matvec(VecRows::SelectedOf(two), InputNorm::None, GATED), expert("int4", 3)), into(&of_two)),
        (launch(matmul(TileRows::GroupedOf(two), GATED), expert("f16", 3)), into(&two_of_five)),
        (
            launch(
                matvec(VecRows::Tiles(TileRows::GroupedOf(two)), InputNorm::None, GATED),
                expert("int4", 3),
            ),
            into(&[&of_two[..3], &two_of_five[2..]].concat()),
        ),
        (
            launch(matmul(TileRows::Dense, ADDED), linear("f16")),
            vec![("words", f16), ("x", x), ("bias", 12), ("residual", y), ("y", y)],
        ),
        (launch(matmul(grouped, GATED), expert("f16", 3)), into(&of_five)),
        (launch(on_matrices(matmul(grouped, GATED)), expert("f16", 3)), into(&of_five)),
        (
            launch(in_i8(matvec(VecRows::DENSE, InputNorm::None, Epilogue::NONE)), linear("int4")),
            [&each[..], &[("x", 7 * 2 * 12), ("y", y)]].concat(),
        ),
        (
            launch(grouped_i8(grouped), expert("int4", 1)),
            [
                &[("x", 3 * 7 * 2 * 12), ("y", gated), ("words", 5 * int4), ("scales", 5 * scales)],
                &of_five[1..],
            ]
            .concat(),
        ),
        (
            launch(matmul(TileRows::Heads(3), Epilogue::NONE), LinearParams { choices: 3, ..linear("f16") }),
            vec![("x", 3 * x), ("y", 3 * y), ("words", 3 * f16)],
        ),
        (
            launch(matmul(grouped, GATED), expert("f16", 1)),
            [&[("x", 3 * x), ("y", gated)], &of_five[..]].concat(),
        ),
    ]
}

fn other_cases() -> Vec<Case> {
    let (slots, table) = (7 * 3, 5);
    let rows = 7 * 33;
    let norm =
        Norm { norm: InputNorm::Layer, residual: true, kept: true, scaled: true, reduce: Reduce::Workgroup };
    let rule = RouteRule { selection: Selection::Biased, expert_scale: true, ..RouteRule::SOFTMAX };
    let route = MoeRoute::new(5, rule);
    let best = SampleBest { kept: 5, gumbel: false, reduce: Reduce::Workgroup };
    vec![
        (
            {
                let variant = Slice { width: Width::Int3, extra_precision: true };
                launch(variant, variant.params(33, 2))
            },
            vec![("words", 7 * 12), ("sliced", 9 * 12)],
        ),
        (embed(9).shared(), vec![("token_ids", 7), ("y", rows), ("words", 9 * 8), ("scales", 9 * 2 * 2)]),
        (positions(9).shared(), vec![("y", rows), ("words", 9 * 48)]),
        (
            launch(norm, NormParams { in_features: 33, eps: 1e-6, rows_per_token: 1, factor: 1.0 }),
            vec![
                ("x", rows),
                ("y", rows),
                ("residual", rows),
                ("kept", rows),
                ("norm_weight", 66),
                ("stored_scale", 1),
            ],
        ),
        (
            launch(
                Altup { streams: 3, step: AltupStep::Correct { scaled: true }, reduce: Reduce::Workgroup },
                ALTUP,
            ),
            vec![
                ("streams", 3 * rows),
                ("router_norm", 33),
                ("router", 3 * 40),
                ("mixing", 12 * 4),
                ("changed", 3 * rows),
                ("active_out", rows),
                ("activated", rows),
                ("stored_scale", 33),
            ],
        ),
        (
            launch(
                StreamMatch { streams: 3, mean: true, reduce: Reduce::Workgroup },
                StreamMatchParams { width: 33, x_stride: 99, least_square: 1e-5 },
            ),
            vec![("x", 3 * rows), ("projections", 2 * rows), ("y", rows)],
        ),
        (
            launch(
                StreamAdd { streams: 3, norm: InputNorm::Layer, reduce: Reduce::Workgroup },
                StreamAddParams { in_features: 33, eps: 1e-6 },
            ),
            vec![("x", rows), ("streams", 3 * rows), ("y", 3 * rows), ("norm_weight", 66)],
        ),
        (
            launch(StreamTake, StreamTakeParams { width: 33, count: 3, stream: 1 }),
            vec![("streams", 3 * rows), ("y", rows)],
        ),
        (
            launch(
                SparseGlu { activate: Activate::GeluTanh, reduce: Reduce::Workgroup },
                SparseGluParams { width: 33, deviations: 1.6 },
            ),
            vec![("pairs", 2 * rows), ("y", rows)],
        ),
        (
            launch(quantize(InputNorm::Layer), QuantizeParams::new(33, 3, 0.0)),
            vec![("x", 3 * rows), ("y", 7 * 3 * 2 * 12), ("norm_weight", 66)],
        ),
        (
            launch(route, ROUTE),
            vec![
                ("logits", 7 * 6),
                ("expert_of_slot", slots),
                ("weight_of_slot", slots),
                ("selection_bias", 5),
                ("expert_scale", 5),
            ],
        ),
        (
            launch(MoeCount { experts: 5, queue: Queue::TokenMajor }, SLOTS),
            vec![("expert_of_slot", slots), ("counts", table), ("rank_of_slot", slots)],
        ),
        (
            launch(MoeScan { experts: 5, limited: false }, MoeScanParams::new(3, 1)),
            vec![("counts", table), ("offsets", table), ("tile_map", 5 * 4)],
        ),
        (
            launch(MoePlace::ALL, SLOTS),
            vec![
                ("expert_of_slot", slots),
                ("rank_of_slot", slots),
                ("offsets", table),
                ("slot_of_place", slots),
            ],
        ),
        (
            launch(
                MoeCombine { residual: true, shared: true, weighted: true, slots: CombineSlots::All },
                COMBINE,
            ),
            vec![
                ("expert_rows", 3 * rows),
                ("weight_of_slot", slots),
                ("shared_rows", rows),
                ("gates", 7 * 6),
                ("y", rows),
                ("residual", rows),
            ],
        ),
        (
            launch(
                MoeAuction { experts: 5 },
                MoeAuctionParams { logit_stride: 6, epsilon: 0.1, max_rounds: 9 },
            ),
            vec![("logits", 7 * 6), ("bidders", 10 * 4), ("expert_of_slot", 7), ("weight_of_slot", 7)],
        ),
        (
            launch(MoeSinkhorn { experts: 5 }, MoeSinkhornParams { logit_stride: 6, iterations: 2 }),
            vec![("logits", 7 * 6), ("row_factors", 7), ("expert_of_slot", 7), ("weight_of_slot", 7)],
        ),
        (
            launch(MoeScores { experts: 5, reduce: Reduce::Workgroup }, MoeScoresParams { logit_stride: 6 }),
            vec![("logits", 7 * 6), ("scores", 5 * 7)],
        ),
        (
            // Of 7 tokens, each takes 3.
            launch(MoeExpertChoice { reduce: Reduce::Workgroup }, MoeExpertChoiceParams::new(CHOSEN, 1)),
            vec![
                ("scores", 5 * 7),
                ("slot_of_choice", 5 * 7),
                ("token_of_slot", 5 * 3),
                ("weight_of_slot", 5 * 3),
                ("tile_map", 5 * 4),
            ],
        ),
        (
            launch(MoeList, MoeListParams { experts: 5 }),
            vec![("slot_of_choice", 5 * 7), ("slots_of_token", 7 * 5), ("experts_of_token", 7)],
        ),
        (
            launch(MoeLookup::Token(TokenIds::ByRow), MoeLookupParams { experts: 5, choices: 3, seed: 0 }),
            vec![("token_ids", 7), ("expert_table", 3), ("expert_of_slot", slots), ("weight_of_slot", slots)],
        ),
        (
            launch(MoePriority, MoePriorityParams { choices: 3 }),
            vec![("weight_of_slot", slots), ("token_of_rank", 7)],
        ),
        (
            launch(
                Quantize { chosen: true, ..quantize(InputNorm::None) },
                QuantizeParams::chosen(33, CHOSEN),
            ),
            vec![("x", 5 * 3 * 33), ("y", 5 * 3 * 2 * 12)],
        ),
        (
            launch(
                MoeCombine {
                    residual: false,
                    shared: false,
                    weighted: true,
                    slots: CombineSlots::Listed(CHOSEN),
                },
                MoeCombineParams { choices: 5, ..COMBINE },
            ),
            vec![
                ("expert_rows", 5 * 3 * 33),
                ("weight_of_slot", 5 * 3),
                ("slots_of_token", 7 * 5),
                ("experts_of_token", 7),
                ("y", rows),
            ],
        ),
        (launch(best, BEST), vec![("logits", 4097), ("best", 5 * 5 * 4)]),
        (
            launch(SamplePick { kept: 5, renormalize: true }, PICK),
            vec![("best", 5 * 5 * 4), ("token_ids", 1), ("samples", 11), ("next_span", SPAN_BYTES / 4)],
        ),
    ]
}

pub fn cases() -> Vec<Case> {
    [attention_cases(), linear_cases(), other_cases()].concat()
}
