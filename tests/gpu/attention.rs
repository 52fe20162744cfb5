use wattle::energy::Phase;
use wattle::fragments::{Reach, ScoreBias};
use wattle::kernels::attention::{Attention, Values};
use wattle::model::config::{Alibi, RelativeBias};
use wattle::reference::attention::{self as reference, Mask};

use crate::attention_case::{Call, DECODES, PREFILLS, across, both_ways, of_size, run_case};
use crate::keys::{Sequence, mask};
use crate::select::selected;
use crate::support::golden::Golden;

#[test]
fn variants_agree_with_the_reference() {
    for (i, variant) in selected::<Attention>().into_iter().enumerate() {
        let cap = if variant.softcap { 3.0 } else { 0.0 };
        for seed in [i, i + 3, i + 7] {
            run_case(variant, cap, seed, 1.0);
        }
    }
}

#[test]
fn every_shape_agrees_with_the_reference() {
    for (softcap, reach, sinks) in [
        (0.0, Reach::Window, true),
        (5.0, Reach::Window, false),
        (0.0, Reach::Chunk, false),
        (0.0, Reach::Encoder, true),
    ] {
        for seed in 0..PREFILLS.len() {
            run_case(of_size(10, softcap, reach, sinks, Phase::Prefill), softcap, seed, 1.0);
            let score_bias = ScoreBias::Relative { distance: 5 };
            let both = of_size(10, softcap, Reach::Both, sinks, Phase::Prefill);
            run_case(Attention { score_bias, ..both }, softcap, seed, 1.0);
        }
        for seed in 0..DECODES.len() {
            run_case(of_size(16, softcap, reach, false, Phase::Decode), softcap, seed, 1.0);
        }
    }
}

/// Scores of 1e4 either way: exp of any of them is 0 or infinite.
#[test]
fn large_scores_stay_finite() {
    for softcap in [0.0, 50.0] {
        for (phase, seed) in
            [(Phase::Prefill, 3), (Phase::Prefill, 8), (Phase::Decode, 5), (Phase::Decode, 9)]
        {
            run_case(of_size(16, softcap, Reach::Window, false, phase), softcap, seed, 1e4);
        }
    }
}

fn golden_sequence(golden: &Golden, softcap: f32) -> Sequence {
    let &[_, heads, head_dim] = &golden.shape("q")[..] else { panic!("q is [Tq,H,h]") };
    let [window, chunk] =
        ["window", "chunk"].map(|name| if golden.has(name) { golden.integer(name) as u32 } else { 0 });
    let layer = reference::Attention {
        scale: golden.float("scale"),
        alibi: golden.has("alibi_slopes").then_some(Alibi { scale: 1.0, bf16: false }),
        mask: if chunk > 0 { mask(Reach::Chunk, chunk) } else { mask(Reach::Window, window) },
        ..Sequence::layer(heads, golden.shape("k")[1], head_dim, 0, softcap)
    };
    let (q, k, v) = (golden.floats("q"), golden.floats("k"), golden.floats("v"));
    let rows = golden.shape("q")[0];
    let sinks = golden.has("sinks").then(|| golden.floats("sinks"));
    let values = Values::Own(golden.shape("v")[2] as u32);
    let position = golden.shape("k")[0] - rows;
    Sequence { layer, values, position, rows, q, k, v, sinks, bias: None, queries: None, on: None }
}

const FILES: [&str; 20] = [
    "attn_mha_causal",
    "attn_gqa_causal",
    "attn_mqa_causal",
    "attn_window",
    "attn_window_one",
    "attn_softcap",
    "attn_softcap_window",
    "attn_large_logits",
    "attn_head_dim_odd",
    "attn_value_dim",
    "attn_decode",
    "attn_decode_window",
    "attn_decode_first",
    "attn_chunk_prefill",
    "attn_chunk_prefill_window",
    "attn_local_chunks",
    "attn_sinks",
    "attn_sinks_window",
    "attn_decode_sinks_softcap",
    "attn_alibi",
];

#[test]
fn attention_is_golden() {
    for file in FILES {
        let golden = Golden::op(file);
        let sequence = golden_sequence(&golden, golden.float("softcap"));
        let (keys, out) = (golden.shape("k")[0], golden.floats("out"));
        let whole: Vec<u32> = (0..keys as u32).collect();
        assert_eq!(golden.indices("k_pos"), whole, "{file}");
        assert_eq!(golden.indices("q_pos"), whole[sequence.position..], "{file}");
        let Mask { window, chunk, .. } = sequence.layer.mask;
        let slots = window.or(chunk).map_or(keys, |reach| reach as usize);
        Call::one(&sequence, slots).prefill(sequence.rows, file, Some(&out));
        for (row, out) in out.chunks(out.len() / sequence.rows).enumerate() {
            Call::one(&sequence.decode(row), slots).decode(32, &format!("{file}, row {row}"), Some(out));
        }
    }
}

/// An encoder sees both ways, a decoder all of what the encoder gave.
#[test]
fn attention_to_all_keys_is_golden() {
    let golden = Golden::op("attn_bidirectional");
    let whole = golden_sequence(&golden, golden.float("softcap"));
    let layer = reference::Attention { mask: Mask::default(), ..whole.layer };
    let rows = whole.rows;
    both_ways(&Sequence { layer, ..whole }, rows + 1, "attn_bidirectional", Some(&golden.floats("out")));

    let golden = Golden::op("attn_cross");
    let whole = golden_sequence(&golden, golden.float("softcap"));
    let layer = reference::Attention { mask: Mask::default(), ..whole.layer };
    let (whole, out) = (Sequence { layer, ..whole }, golden.floats("out"));
    across(&whole, (Phase::Prefill, false), 32, "attn_cross", Some(&out));
    let width = out.len() / whole.rows;
    for (row, out) in out.chunks(width).enumerate() {
        let Sequence { layer, values, position, rows, ref k, ref v, .. } = whole;
        let (q, k, v) = (whole.q[row * width..][..width].to_vec(), k.clone(), v.clone());
        let one = Sequence {
            layer,
            values,
            position: position + rows - 1,
            rows: 1,
            q,
            k,
            v,
            sinks: None,
            bias: None,
            queries: None,
            on: None,
        };
        for split_keys in [8, 32] {
            across(&one, (Phase::Decode, false), split_keys, &format!("attn_cross, row {row}"), Some(out));
        }
    }
}

/// Biases of an encoder, and of a decoder's prompt and steps.
#[test]
fn biases_by_distance_are_golden() {
    let biased = |file: &str| {
        let golden = Golden::op(file);
        let whole = golden_sequence(&golden, golden.float("softcap"));
        let is_causal = golden.integer("causal") != 0;
        let layer = reference::Attention {
            mask: if is_causal { whole.layer.mask } else { Mask::default() },
            ..whole.layer
        };
        let buckets = golden.shape("table")[0] as u32;
        let relative = RelativeBias { buckets, max_distance: golden.integer("max_distance") as u32 };
        (Sequence { layer, bias: Some((relative, golden.floats("table"))), ..whole }, golden.floats("out"))
    };
    let (encoder, out) = biased("attn_t5_bias_encoder");
    both_ways(&encoder, encoder.rows, "encoder", Some(&out));
    let (decoder, out) = biased("attn_t5_bias_decoder");
    Call::one(&decoder, decoder.rows).prefill(decoder.rows, "decoder", Some(&out));
    let (step, out) = biased("attn_t5_bias_decode_step");
    Call::one(&step, step.position + 1).decode(32, "step", Some(&out));
}

/// A ring of exactly the window, step by step; `ring_pos` says which position is in which slot.
#[test]
fn steps_over_a_ring_are_golden() {
    let golden = Golden::op("attn_ring_decode");
    let sequence = golden_sequence(&golden, 0.0);
    let (out, ring) = (golden.floats("step_out"), golden.integer("ring_size") as usize);
    for (step, &position) in golden.indices("step_pos").iter().enumerate() {
        let one = sequence.decode(position as usize);
        let stored = golden.indices("ring_pos");
        for (slot, &holds) in stored[step * ring..][..ring].iter().enumerate() {
            let here = |p: &u32| *p as usize % ring == slot;
            assert_eq!(
                holds,
                (0..=position).rev().find(here).unwrap_or(u32::MAX),
                "step {step}, slot {slot}"
            );
        }
        let out = &out[step * one.outputs()..][..one.outputs()];
        for split_keys in [5, 32] {
            Call::one(&one, ring).decode(split_keys, &format!("step {step}, position {position}"), Some(out));
        }
    }
}

/// A chunk sees the ring as it was before the chunk is written, and the chunk's own keys.
#[test]
fn chunks_over_a_ring_are_golden() {
    let golden = Golden::op("attn_ring_prefill");
    let whole = golden_sequence(&golden, 0.0);
    let (ring, most) = (golden.integer("ring_size") as usize, golden.integer("chunk_len") as usize);
    let (row, out) = (whole.layer.heads * whole.layer.head_dim, golden.floats("out"));
    let total = whole.rows;
    for &start in &golden.indices("chunk_start") {
        let (position, end) = (start as usize, total.min(start as usize + most));
        let seen = end * whole.layer.kv_heads * whole.layer.head_dim;
        let q = whole.q[position * row..end * row].to_vec();
        let (k, v) = (whole.k[..seen].to_vec(), whole.v[..seen].to_vec());
        let (layer, values) = (whole.layer, whole.values);
        let rows = end - position;
        let chunk = Sequence {
            layer,
            values,
            position,
            rows,
            q,
            k,
            v,
            sinks: None,
            bias: None,
            queries: None,
            on: None,
        };
        let what = format!("chunk at {position}");
        Call::one(&chunk, ring).prefill(most, &what, Some(&out[position * row..end * row]));
    }
}
