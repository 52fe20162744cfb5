use wattle::fragments::{InputNorm, InputRows, Reduce};
use wattle::kernels::expert_plan::{ChosenSlots, ExpertShare};
use wattle::kernels::quantize::{Quantize, QuantizeParams};
use wattle::reference::quantize::quantize;

use crate::bound::{EPS, scaled};
use crate::harness::{Outputs, Run, span};
use crate::linear::{input_blocks, norm_roundings, normed, rows_of_every_size};
use crate::select::selected;
use crate::support::random::Random;

/// Words of a block: codes, scale, sum, and two that nobody reads.
const WORDS: usize = 12;

fn plain() -> Quantize {
    Quantize {
        inputs: InputRows::Any,
        norm: InputNorm::None,
        last: false,
        chosen: false,
        reduce: Reduce::Workgroup,
    }
}

fn run(
    variant: Quantize,
    [tokens, rows_per_token, width]: [usize; 3],
    x: &[f32],
    norm_weight: &[f32],
) -> Outputs {
    let params = match variant.chosen {
        // So many experts that each take every token.
        true => {
            let slots = ChosenSlots { experts: rows_per_token as u32, share: ExpertShare::ALL };
            QuantizeParams::chosen(width as u32, slots)
        }
        false => QuantizeParams::new(width as u32, rows_per_token as u32, 1e-5),
    };
    let what = format!("{tokens} x {rows_per_token} rows of {width}");
    let run = Run::new(variant, params, span(3, tokens), what).with("x", x);
    let run = match variant.norm {
        InputNorm::None => run,
        InputNorm::Rms => run.with("norm_weight", &norm_weight[..width]),
        InputNorm::Layer | InputNorm::Affine => run.with("norm_weight", norm_weight),
    };
    run.out("y", tokens * rows_per_token * width.div_ceil(32) * WORDS).go()
}

fn check(variant: Quantize, [tokens, rows_per_token, width]: [usize; 3], seed: u64) {
    let mut random = Random::new(seed);
    let width = if variant.inputs == InputRows::Quads { width.next_multiple_of(4) } else { width };
    let rows = tokens * rows_per_token;
    let x = rows_of_every_size(&mut random, rows, width);
    let weight = random.gaussian(2 * width);
    let outputs = run(variant, [tokens, rows_per_token, width], &x, &weight);
    let (scale, shift) = weight.split_at(width);
    let mut blocks = outputs.words("y").chunks(WORDS);
    for (row, x) in x.chunks(width).enumerate() {
        let blocks: Vec<_> = blocks.by_ref().take(width.div_ceil(32)).collect();
        if variant.last && row + 1 < rows {
            let untouched = outputs.words("y")[0];
            assert!(blocks.iter().all(|block| block.iter().all(|word| *word == untouched)), "row {row}");
            continue;
        }
        let (y, errors) = match variant.norm {
            InputNorm::None => (x.to_vec(), vec![0.0; width]),
            norm => {
                let (y, size) = normed(norm, 1e-5, x, scale, shift);
                (y, scaled(norm_roundings(norm, width), &size))
            }
        };
        for (n, (y, errors)) in y.chunks(32).zip(errors.chunks(32)).enumerate() {
            check_block(blocks[n], y, errors, &format!("{} row {row}, block {n}", outputs.what()));
        }
    }
}

/// A block stands for `y`, which is off by up to `errors`: half a step, and the roundings of a division and two products.
fn check_block(block: &[u32], y: &[f32], errors: &[f32], what: &str) {
    let (scale, sum) = (f32::from_bits(block[8]), f32::from_bits(block[9]));
    let codes: Vec<i8> =
        block[..8].iter().flat_map(|word| word.to_le_bytes()).map(|byte| byte as i8).collect();
    let most = y.iter().zip(errors).fold(0.0_f32, |most, (y, error)| most.max(y.abs() + error));
    let least = y.iter().zip(errors).fold(0.0_f32, |least, (y, error)| least.max(y.abs() - error));
    if most == 0.0 {
        assert_eq!((scale, &codes[..]), (1.0, &[0; 32][..]), "{what}");
        return;
    }
    let near = |scale: f32, most: f32| (scale * 127.0 - most) / most;
    assert!(near(scale, most) <= 8.0 * EPS && near(scale, least) >= -8.0 * EPS, "{what}: scale {scale}");
    for (i, (y, error)) in y.iter().zip(errors).enumerate() {
        let off = (f32::from(codes[i]) * scale - y).abs();
        assert!(
            off <= scale * (0.5 + 127.0 * 8.0 * EPS) + error,
            "{what}: code {} of {y}, scale {scale}",
            codes[i]
        );
    }
    assert!(codes[y.len()..].iter().all(|code| *code == 0), "{what}: padding {codes:?}");
    assert_eq!(sum, codes.iter().map(|code| f32::from(*code)).sum::<f32>(), "{what}: sum");
}

#[test]
fn blocks_agree_with_the_reference() {
    for (i, variant) in selected::<Quantize>().into_iter().enumerate() {
        for seed in [i, i + 3] {
            let width = [1, 31, 32, 33, 64, 257, 2100][seed % 7];
            let [tokens, rows_per_token] = if variant.last { [5, 1] } else { [[5, 1], [3, 2]][seed % 2] };
            check(variant, [tokens, rows_per_token, width], seed as u64);
        }
    }
}

/// Codes of numbers that are no ties are those of the reference, bit for bit, with the first one's outlier.
#[test]
fn codes_are_those_of_the_reference() {
    let mut random = Random::new(5);
    let mut x: Vec<f32> = (0..3 * 100).map(|_| (random.bits() % 2001) as f32 / 8.0 - 125.0).collect();
    x[0] = 1e4;
    for block in x.chunks_mut(100).flat_map(|row| row.chunks_mut(32)).skip(1) {
        // Scale 1, and no quotient in the middle between two codes.
        block.iter_mut().for_each(|x| *x = x.round());
        block[0] = 127.0;
    }
    let outputs = run(plain(), [3, 1, 100], &x, &[]);
    let expected = input_blocks(&x, 100);
    for (found, expected) in outputs.words("y").chunks(WORDS).zip(expected.chunks(WORDS)) {
        assert_eq!(found[..10], expected[..10], "{}", outputs.what());
    }
}

/// What is not finite must not become a number.
#[test]
fn blocks_that_are_not_finite_show_it() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 31, 40] {
            let mut x = vec![1.0; 64];
            x[at] = bad;
            let outputs = run(plain(), [1, 1, 64], &x, &[]);
            for (n, block) in outputs.words("y").chunks(WORDS).enumerate() {
                let scale = f32::from_bits(block[8]);
                assert_eq!(scale.is_finite(), n != at / 32, "{bad} at {at}, block {n}: {scale}");
            }
        }
    }
    assert_eq!(quantize(&[1e-38; 3])[0].scale, 1.0);
    let tiny = run(plain(), [1, 1, 3], &[1e-38; 3], &[]);
    assert_eq!(tiny.words("y")[..10], input_blocks(&[1e-38; 3], 3)[..10]);
}
