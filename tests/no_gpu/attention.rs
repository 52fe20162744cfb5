use wattle::model::config::{Alibi, RelativeBias};
use wattle::reference::attention::{
    Attention, EMPTY_SLOT, KeyValues, Mask, ScoreBias, alibi_slope, attention,
};
use wattle::reference::relative_bias::{bucket, by_distance};

use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;

pub const FILES: &[&str] = &[
    "attn_mha_causal",
    "attn_gqa_causal",
    "attn_mqa_causal",
    "attn_bidirectional",
    "attn_cross",
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
/// With a bias for every distance, or for every bucket of them.
pub const BIAS_FILES: &[&str] = &["attn_t5_bias_encoder", "attn_t5_bias_decoder", "attn_t5_bias_decode_step"];
pub const RING_FILES: &[&str] = &["attn_ring_decode", "attn_ring_prefill"];

const TOLERANCE: Tolerance = Tolerance::OfLargest(1e-6);

/// Zero means off.
fn layer(golden: &Golden, causal: bool, softcap: f32) -> Attention {
    let (q, k) = (golden.shape("q"), golden.shape("k"));
    let window = golden.integer("window") as u32;
    let chunk = if golden.has("chunk") { golden.integer("chunk") as u32 } else { 0 };
    Attention {
        heads: q[1],
        kv_heads: k[1],
        head_dim: q[2],
        scale: golden.float("scale"),
        alibi: golden.has("alibi_slopes").then_some(Alibi { scale: 1.0, bf16: false }),
        softcap: (softcap > 0.0).then_some(softcap),
        mask: Mask { causal, window: (window > 0).then_some(window), chunk: (chunk > 0).then_some(chunk) },
    }
}

#[test]
fn attention_is_golden() {
    for &file in FILES {
        let golden = Golden::op(file);
        let layer = layer(&golden, golden.integer("causal") != 0, golden.float("softcap"));
        let (keys, values) = (&golden.floats("k"), &golden.floats("v"));
        let sinks = golden.has("sinks").then(|| golden.floats("sinks"));
        let kv = KeyValues {
            keys,
            values,
            positions: &golden.indices("k_pos"),
            sinks: sinks.as_deref(),
            bias: None,
        };
        let found = attention(&layer, &golden.floats("q"), &golden.indices("q_pos"), kv);
        assert_close(file, &found, &golden.floats("out"), TOLERANCE);
    }
}

/// Buckets, biases and outputs of an encoder, of a decoder and of one step.
#[test]
fn biases_by_distance_are_golden() {
    for &file in BIAS_FILES {
        let golden = Golden::op(file);
        let table = golden.floats("table");
        let (buckets, max_distance) =
            (golden.shape("table")[0] as u32, golden.integer("max_distance") as u32);
        let relative = RelativeBias { buckets, max_distance };
        let both_ways = golden.integer("bidirectional") != 0;
        let (queries, keys) = (golden.indices("q_pos"), golden.indices("k_pos"));
        let bucket =
            |(query, key): (&u32, &u32)| bucket(relative, both_ways, i64::from(*key) - i64::from(*query));
        let pairs = || queries.iter().flat_map(|query| keys.iter().map(move |key| (query, key)));
        let found: Vec<u32> = pairs().map(bucket).collect();
        assert_same(&format!("{file}, buckets"), &found, &golden.indices("bucket"));

        let heads = golden.shape("q")[1];
        let distances = by_distance(relative, both_ways, &table);
        let width = 2 * max_distance as usize + 1;
        let at = |head: usize, (query, key): (&u32, &u32)| {
            let distance = i64::from(*key) - i64::from(*query);
            let most = i64::from(max_distance);
            distances[head * width + (distance.clamp(-most, most) + most) as usize]
        };
        let found: Vec<f32> = (0..heads).flat_map(|head| pairs().map(move |pair| at(head, pair))).collect();
        assert_same(&format!("{file}, biases"), &found, &golden.floats("bias"));

        let layer = layer(&golden, golden.integer("causal") != 0, golden.float("softcap"));
        let bias = Some(ScoreBias { relative, both_ways, table: &table });
        let (k, v) = (golden.floats("k"), golden.floats("v"));
        let kv = KeyValues { keys: &k, values: &v, positions: &keys, sinks: None, bias };
        let found = attention(&layer, &golden.floats("q"), &queries, kv);
        assert_close(file, &found, &golden.floats("out"), TOLERANCE);
    }
}

/// Slots of a ring stand in no order and some are empty.
#[test]
fn a_step_over_a_ring_is_golden() {
    let golden = Golden::op("attn_ring_decode");
    let layer = layer(&golden, true, 0.0);
    let (q, out) = (golden.floats("q"), golden.floats("step_out"));
    let (keys, values, slots) =
        (golden.floats("ring_k"), golden.floats("ring_v"), golden.indices("ring_pos"));
    let row = layer.heads * layer.head_dim;
    let ring = golden.integer("ring_size") as usize;
    let ring_row = ring * layer.kv_heads * layer.head_dim;
    for (step, &position) in golden.indices("step_pos").iter().enumerate() {
        let kv = KeyValues {
            keys: &keys[step * ring_row..][..ring_row],
            values: &values[step * ring_row..][..ring_row],
            positions: &slots[step * ring..][..ring],
            sinks: None,
            bias: None,
        };
        let found = attention(&layer, &q[position as usize * row..][..row], &[position], kv);
        assert_close(&format!("step {step}"), &found, &out[step * row..][..row], TOLERANCE);
    }
}

/// A chunk sees the ring as it was before the chunk is written, and the chunk's own keys.
#[test]
fn chunks_over_a_ring_are_golden() {
    let golden = Golden::op("attn_ring_prefill");
    let layer = layer(&golden, true, 0.0);
    let (q, k, v, out) = (golden.floats("q"), golden.floats("k"), golden.floats("v"), golden.floats("out"));
    let (row, kv_row) = (layer.heads * layer.head_dim, layer.kv_heads * layer.head_dim);
    let ring = golden.integer("ring_size") as usize;
    let (before, after) = (golden.indices("ring_pos_before"), golden.indices("ring_pos_after"));
    let total = q.len() / row;
    for (chunk, &start) in golden.indices("chunk_start").iter().enumerate() {
        let end = total.min(start as usize + golden.integer("chunk_len") as usize);
        let new: Vec<u32> = (start..end as u32).collect();
        let mut slots = before[chunk * ring..][..ring].to_vec();
        let positions = [&slots[..], &new].concat();
        let gather = |data: &[f32]| -> Vec<f32> {
            // What an empty slot holds must not matter.
            let element = |p: u32, i| if p == EMPTY_SLOT { f32::NAN } else { data[p as usize * kv_row + i] };
            positions.iter().flat_map(|&p| (0..kv_row).map(move |i| element(p, i))).collect()
        };
        let kv = KeyValues {
            keys: &gather(&k),
            values: &gather(&v),
            positions: &positions,
            sinks: None,
            bias: None,
        };
        let of_chunk = start as usize * row..end * row;
        let found = attention(&layer, &q[of_chunk.clone()], &new, kv);
        assert_close(&format!("chunk {chunk}"), &found, &out[of_chunk], TOLERANCE);
        new.iter().for_each(|&p| slots[p as usize % ring] = p);
        assert_same(&format!("ring after chunk {chunk}"), &slots, &after[chunk * ring..][..ring]);
    }
}

#[test]
fn a_query_that_sees_no_key_gets_zero() {
    let mask = Mask { causal: true, window: Some(2), chunk: None };
    let layer =
        Attention { heads: 1, kv_heads: 1, head_dim: 2, scale: 1.0, alibi: None, softcap: None, mask };
    let kv = KeyValues {
        keys: &[1.0; 6],
        values: &[3.0; 6],
        positions: &[0, 9, EMPTY_SLOT],
        sinks: None,
        bias: None,
    };
    assert_eq!(attention(&layer, &[1.0; 4], &[2, 1], kv), [0.0, 0.0, 3.0, 3.0]);
    assert_eq!(
        attention(
            &layer,
            &[1.0; 2],
            &[1],
            KeyValues { keys: &[], values: &[], positions: &[], sinks: None, bias: None }
        ),
        [0.0; 2]
    );
}

/// Those of six heads from elsewhere; of four and of eight as the paper's geometric series; of twelve, the first eight and then
/// every second one of sixteen.
#[test]
fn slopes_are_those_of_the_paper() {
    let slopes = |heads| (0..heads).map(|head| alibi_slope(heads, head)).collect::<Vec<_>>();
    let golden = Golden::op("attn_alibi").floats("alibi_slopes");
    assert_same("six", &slopes(6).iter().map(|slope| *slope as f32).collect::<Vec<_>>(), &golden);
    assert_eq!(slopes(1), [2f64.powi(-8)]);
    assert_eq!(slopes(4), [2, 4, 6, 8].map(|n| 2f64.powi(-n)));
    assert_eq!(slopes(8), [1, 2, 3, 4, 5, 6, 7, 8].map(|n| 2f64.powi(-n)));
    let [eight, sixteen] = [slopes(8), slopes(16)];
    let expected = [&eight[..], &[sixteen[0], sixteen[2], sixteen[4], sixteen[6]]].concat();
    assert_same("twelve", &slopes(12), &expected);
}

/// In bfloat16 there are 8 bits: 257 is 256, and 259 is 260.
#[test]
fn alibi_in_bf16_rounds_positions() {
    let layer = |bf16| Attention {
        heads: 1,
        kv_heads: 1,
        head_dim: 1,
        scale: 1.0,
        alibi: Some(Alibi { scale: 256.0, bf16 }),
        softcap: None,
        mask: Mask { causal: true, window: None, chunk: None },
    };
    // The only head has the slope 2^-8: two keys, at distances of 0 and 2, and with a score of 0 but for that.
    let kv =
        KeyValues { keys: &[0.0; 2], values: &[0.0, 1.0], positions: &[257, 259], sinks: None, bias: None };
    let share = |bf16| attention(&layer(bf16), &[1.0], &[259], kv)[0];
    let of_distance = |distance: f32| 1.0 / (1.0 + (-distance).exp());
    assert_close("exact", &[share(false)], &[of_distance(2.0)], Tolerance::Mixed(0.0, 1e-6));
    assert_close("rounded", &[share(true)], &[of_distance(4.0)], Tolerance::Mixed(0.0, 1e-6));
}
