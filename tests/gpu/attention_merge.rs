use wattle::fragments::Reach;
use wattle::kernels::attention::split_count;
use wattle::kernels::attention_merge::{AttentionMerge, AttentionMergeParams};

use crate::bound::{EPS, exp_roundings, roundings};
use crate::harness::{Run, span};
use crate::support::compare::Tolerance;
use crate::support::random::Random;

/// Sums, maximum and weight of a part, as `attention` writes them.
struct Part {
    sums: Vec<f32>,
    max: f32,
    weight: f32,
}

/// `sum_i e^(m_i - m) o_i / sum_i e^(m_i - m) l_i`, and the same of magnitudes.
fn joined(parts: &[Part], d: usize) -> (f64, f64) {
    let max = parts.iter().map(|part| part.max).fold(f32::MIN, f32::max);
    let rescale = |part: &Part| f64::from(part.max - max).exp();
    let weight: f64 = parts.iter().map(|part| rescale(part) * f64::from(part.weight)).sum();
    let sum =
        |f: fn(f64) -> f64| parts.iter().map(|part| rescale(part) * f(part.sums[d].into())).sum::<f64>();
    (sum(|x| x) / weight, sum(f64::abs) / weight)
}

#[test]
fn parts_are_joined_by_weight() {
    // Heads, head_dim, window, split_keys, position; the maxima's spread.
    for (seed, (heads, head_dim, window, split_keys, position, spread)) in [
        (1, 1, 0, 32, 0, 1.0),
        (3, 10, 0, 32, 31, 1.0),
        (3, 64, 0, 32, 32, 3.0),
        (2, 65, 0, 32, 257, 10.0),
        (5, 257, 40, 32, 257, 1.0),
        (4, 3, 7, 1, 100, 1e4),
        (2, 3, 0, 32, 40_000, 1.0),
        (1, 8, 1000, 256, 1_000_000, 1.0),
        (1, 8, u32::MAX, 256, 300, 1.0),
    ]
    .into_iter()
    .enumerate()
    {
        let mut random = Random::new(seed as u64);
        let splits =
            split_count(Reach::Window.first_visible(position, window), position, split_keys) as usize;
        let mut part = |_| {
            let max = spread * random.gaussian(1)[0];
            Part { sums: random.gaussian(head_dim), max, weight: 1.0 + random.unit() as f32 }
        };
        let of_heads: Vec<Vec<Part>> = (0..heads).map(|_| (0..splits).map(&mut part).collect()).collect();
        let (mut buffer, mut expected, mut tolerances) = (vec![], vec![], vec![]);
        for parts in &of_heads {
            for Part { sums, max, weight } in parts {
                buffer.extend([&sums[..], &[*max, *weight]].concat());
            }
            // Room for a part that is not there.
            buffer.extend(vec![f32::NAN; head_dim + 2]);
            for (out, size) in (0..head_dim).map(|d| joined(parts, d)) {
                expected.push(out as f32);
                // exp of what counts, in the sum and in the weight, and the division.
                let c = 2.0 * exp_roundings(17.0) + 2.0 * roundings(splits) + 5.0;
                tolerances.push(c * EPS * size as f32);
            }
        }
        let params = AttentionMergeParams {
            heads: heads as u32,
            head_dim: head_dim as u32,
            reach: window,
            split_keys,
            max_splits: splits as u32 + 1,
            slots: position + 1,
        };
        let run = Run::new(
            AttentionMerge { reach: Reach::Window, sinks: false },
            params,
            span(position as usize, 1),
            format_args!("seed {seed}"),
        );
        let found = run.with("parts", &buffer).out("out", expected.len()).go();
        found.close("out", &expected, Tolerance::Each(&tolerances));
    }
}
