use wattle::fragments::{CacheFormat, CacheSlots, InputNorm};
use wattle::kernels::rope::{QkNorm, Rope, RopeParams};
use wattle::model::config::{Norm, NormKind, Rope as Rotation, RopeLayout, RopeScaling};
use wattle::reference::norm::norm;
use wattle::reference::rope::{rotate, tables};

use crate::bound::{EPS, abs};
use crate::harness::{Run, span};
use crate::keys::{by_head, storing_tolerances, unpacked};
use crate::linear::{norm_roundings, normed, rows_of_every_size};
use crate::select::selected;
use crate::support::compare::{Tolerance, assert_close};
use crate::support::golden::Golden;
use crate::support::random::Random;

const EPSILON: f32 = 1e-5;

/// Heads, key/value heads, position, rows, slots of the destination.
#[derive(Clone, Copy, Debug)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    position: usize,
    rows: usize,
    slots: usize,
}

fn shapes(to_cache: bool) -> Vec<Shape> {
    let shape = |(heads, kv_heads, position, rows, slots)| Shape { heads, kv_heads, position, rows, slots };
    let cases = if to_cache {
        // Positions in order, a ring that wraps, one slot.
        vec![(1, 1, 0, 1, 1), (4, 2, 63, 1, 64), (3, 1, 64, 1, 64), (6, 6, 29, 1, 8), (2, 1, 5, 1, 1)]
    } else {
        vec![(1, 1, 0, 1, 1), (4, 2, 63, 3, 5), (3, 1, 0, 5, 5), (2, 2, 257, 2, 3)]
    };
    cases.into_iter().map(shape).collect()
}

fn check(variant: Rope, rotary_dim: usize, shape: Shape, seed: u64) {
    let Shape { heads, kv_heads, position, rows, slots } = shape;
    let kv_heads = if variant.only_q { 0 } else { kv_heads };
    let width = variant.head_dim as usize;
    let mut random = Random::new(seed);
    let all = heads + if variant.v_is_k { 1 } else { 2 } * kv_heads;
    // Every head is a row of its own to the norm.
    let qkv = rows_of_every_size(&mut random, rows * all, width);
    let of_all = variant.qk_norm == QkNorm::AllHeads;
    let of_each = variant.qk_norm == QkNorm::Layer { by_head: true };
    let k_width = width * usize::from(!variant.only_q);
    let (q_scales, k_scales) =
        if of_all || of_each { (heads * width, kv_heads * width) } else { (width, k_width) };
    let kind = match variant.qk_norm {
        QkNorm::None => InputNorm::None,
        QkNorm::Head | QkNorm::AllHeads => InputNorm::Rms,
        QkNorm::Layer { .. } => InputNorm::Layer,
    };
    let scales = q_scales + k_scales;
    let head_norm = random.gaussian(if kind == InputNorm::Layer { 2 * scales } else { scales });
    // Some seeds clamp, and let queries grow.
    let clip = if seed % 3 == 1 { 0.7 } else { f32::MAX };
    let growth = if seed % 2 == 1 { Some((0.3, 5)) } else { None };
    let layout = if variant.interleaved { RopeLayout::Interleaved } else { RopeLayout::HalfSplit };
    let rotation =
        Rotation { theta: 100.0, rotary_dim: rotary_dim as u32, layout, scaling: RopeScaling::None };
    let positions: Vec<u32> = (0..(position + rows) as u32).collect();
    let (cos, sin) = tables(&rotation, &positions);
    let table: Vec<[f32; 2]> = cos.iter().zip(&sin).map(|(&cos, &sin)| [cos, sin]).collect();
    let from = position * rotary_dim / 2;

    let (mut q, mut k, mut v) = (vec![], vec![], vec![]);
    for row in qkv.chunks(all * width) {
        let (q_row, kv_row) = row.split_at(heads * width);
        let (k_row, v_row) = kv_row.split_at(kv_heads * width);
        q.extend_from_slice(q_row);
        k.extend_from_slice(k_row);
        v.extend_from_slice(if variant.v_is_k { k_row } else { v_row });
    }
    let rms = Norm { kind: NormKind::Rms, eps: EPSILON };
    let turn = |x: &[f32], heads: usize, first: usize| {
        if x.is_empty() {
            return (Vec::new(), Vec::new());
        }
        // What is normed together.
        let len = if of_all { heads * width } else { width };
        let of_row = |(n, row): (usize, &[f32])| {
            let at = first + if of_each { n % heads * width } else { 0 };
            match kind {
                InputNorm::None => (row.to_vec(), abs(row)),
                InputNorm::Layer => {
                    normed(kind, EPSILON, row, &head_norm[at..][..len], &head_norm[scales + at..][..len])
                }
                _ => normed(kind, EPSILON, row, &head_norm[at..][..len], &[]),
            }
        };
        let (y, size): (Vec<_>, Vec<_>) = x.chunks(len).enumerate().map(of_row).unzip();
        let (mut y, mut size) = (y.concat(), size.concat());
        let c = if kind == InputNorm::None { 0.0 } else { norm_roundings(kind, len) } + 4.0;
        y.iter_mut().for_each(|y| *y = y.clamp(-clip, clip));
        size.iter_mut().for_each(|size| *size = size.min(clip));
        rotate(&rotation, &mut y, heads, width, &cos[from..], &sin[from..]);
        // Magnitudes turned without signs: a |cos| + b |sin|.
        rotate_sizes(&rotation, &mut size, width);
        (y, size.iter().map(|size| c * EPS * size).collect::<Vec<f32>>())
    };
    let (mut q, mut q_tolerance) = turn(&q, heads, 0);
    let (k, k_tolerance) = turn(&k, kv_heads, q_scales);
    if let Some((scale, floor)) = growth {
        let rows = q.chunks_mut(heads * width).zip(q_tolerance.chunks_mut(heads * width));
        for (row, (q, tolerance)) in rows.enumerate() {
            let factor = 1.0 + scale * f64::from((position + row + 1) as u32 / floor).ln_1p();
            for (q, tolerance) in q.iter_mut().zip(tolerance) {
                // log is good to three units in the last place, and may be off by 2^-21 near 1.
                *q = (f64::from(*q) * factor) as f32;
                *tolerance = *tolerance * factor as f32 + 16.0 * EPS * q.abs();
            }
        }
    }
    let mut v_tolerance = vec![0.0; v.len()];
    if variant.v_norm {
        v = norm(rms, &v, &vec![1.0; width], None);
        let c = norm_roundings(InputNorm::Rms, width) + 2.0;
        v_tolerance = v.iter().map(|v| c * EPS * v.abs()).collect();
    }
    v.iter_mut().for_each(|v| *v = v.clamp(-clip, clip));
    let slot = |row: usize| if variant.to.is_some() { (position + row) % slots } else { row };
    // Of two pages all are the second, which then is like a ring.
    let paged = variant.to.is_some_and(|cache| cache.slots == CacheSlots::Paged);
    let format = variant.to.map_or(CacheFormat::F32, |cache| cache.format);
    let pages = if paged { (position + rows) / slots + 1 } else { 0 };
    let place = |x: &[f32]| {
        let first_page = vec![f32::NAN; if paged { kv_heads * slots * width } else { 0 }];
        [first_page, by_head(x, kv_heads, width, slots, |row| Some(slot(row)))].concat()
    };

    let params = RopeParams {
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        rotary_dim: rotary_dim as u32,
        slots: slots as u32,
        pages: pages as u32,
        eps: EPSILON,
        clip,
        temperature_scale: growth.map_or(0.0, |(scale, _)| scale as f32),
        temperature_floor: growth.map_or(0, |(_, floor)| floor),
    };
    let run = Run::new(variant, params, span(position, rows), format_args!("seed {seed}"));
    let run = run.with("qkv", &qkv).with("rope_table", &table).out("q_out", q.len());
    let run = if variant.qk_norm != QkNorm::None { run.with("head_norm", &head_norm) } else { run };
    if variant.only_q {
        run.go().close("q_out", &q, Tolerance::Each(&q_tolerance));
        return;
    }
    let run = if paged { run.with("page_table", &vec![1u32; pages]) } else { run };
    let kv_words = place(&k).len() / width * format.row_words(width as u32) as usize;
    let found = run.out("k_out", kv_words).out("v_out", kv_words).go();
    found.close("q_out", &q, Tolerance::Each(&q_tolerance));
    for (name, rows, tolerance) in [("k_out", k, k_tolerance), ("v_out", v, v_tolerance)] {
        let storing = storing_tolerances(format, &rows, width);
        let tolerance: Vec<f32> = tolerance.iter().zip(storing).map(|(a, b)| 1.01 * a + b).collect();
        let stored = unpacked(format, found.words(name), width);
        let what = format!("{} {name}", found.what());
        assert_close(&what, &stored, &place(&rows), Tolerance::Each(&place(&tolerance)));
    }
}

/// What a pair's roundings are relative to: the length of both, which no rotation changes, times the root of 2.
fn rotate_sizes(rotation: &Rotation, sizes: &mut [f32], width: usize) {
    let pairs = rotation.rotary_dim as usize / 2;
    for head in sizes.chunks_mut(width) {
        for i in 0..pairs {
            let (a, b) = match rotation.layout {
                RopeLayout::HalfSplit => (i, i + pairs),
                RopeLayout::Interleaved => (2 * i, 2 * i + 1),
            };
            let length = 1.42 * head[a].hypot(head[b]);
            (head[a], head[b]) = (length, length);
        }
    }
}

#[test]
fn heads_agree_with_the_reference() {
    for (i, variant) in selected::<Rope>().into_iter().enumerate() {
        let width = variant.head_dim as usize;
        let whole = width / 2 * 2;
        let partial = (width / 4 * 2).max(whole.min(2));
        for (n, shape) in shapes(variant.to.is_some()).into_iter().enumerate() {
            check(variant, [whole, partial, 0][(i + n) % 3], shape, (i + n) as u64);
        }
    }
}

#[test]
fn rotations_are_golden() {
    let golden = Golden::op("rope");
    let positions = golden.indices("positions");
    for (case, width) in [("default", 16), ("big_theta", 12), ("partial", 24), ("linear", 16), ("llama3", 20)]
    {
        let read = |name: &str| golden.floats(&format!("{case}.{name}"));
        let rotary_dim = golden.integer(&format!("{case}.rotary_dim")) as usize;
        let (x, cos, sin) = (read("x"), read("cos"), read("sin"));
        let heads = golden.shape(&format!("{case}.x"))[1];
        for (name, interleaved) in [("half", false), ("interleaved", true)] {
            let expected = read(name);
            let variant = Rope { interleaved, ..Rope::new(width) };
            // The positions are no range: each row alone, its angles first in the table.
            for (t, x) in x.chunks(heads * width as usize).enumerate() {
                let pairs = rotary_dim / 2;
                let table: Vec<[f32; 2]> = (t * pairs..(t + 1) * pairs).map(|i| [cos[i], sin[i]]).collect();
                // All of them queries, and one key/value head more.
                let qkv = [x, &x[..2 * width as usize]].concat();
                let params = RopeParams {
                    heads: heads as u32,
                    kv_heads: 1,
                    rotary_dim: rotary_dim as u32,
                    slots: 1,
                    pages: 0,
                    eps: 0.0,
                    clip: f32::MAX,
                    temperature_scale: 0.0,
                    temperature_floor: 0,
                };
                let what = format!("{case}.{name} at {}", positions[t]);
                let run =
                    Run::new(variant, params, span(0, 1), what).with("qkv", &qkv).with("rope_table", &table);
                let run = run.out("q_out", x.len()).out("k_out", width as usize).out("v_out", width as usize);
                let expected = &expected[t * x.len()..][..x.len()];
                let found = run.go();
                found.close("q_out", expected, Tolerance::OfLargest(1e-6));
                found.close("k_out", &expected[..width as usize], Tolerance::OfLargest(1e-6));
            }
        }
    }
}
