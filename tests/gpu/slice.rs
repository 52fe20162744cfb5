use wattle::kernel::Kernel;
use wattle::kernels::slice::Slice;
use wattle::quant::{Codes, IntFormat, PackedMatrix, Parent, QuantBlock, Width};

use crate::harness::{Run, span};
use crate::support::random::Random;

/// The words that the CPU packs, for every width; rows before the first stay as they are.
#[test]
fn slices_are_those_of_the_cpu() {
    const FIRST: usize = 3;
    for (seed, cols) in [1, 15, 16, 17, 31, 33, 64, 129, 300].into_iter().enumerate() {
        let rows = 1 + seed % 4;
        let weights = Random::new(seed as u64).gaussian(rows * cols);
        let parent = Parent::quantize(&weights, rows, cols, QuantBlock::Channel).unwrap();
        let whole = PackedMatrix::of_parent(&parent, IntFormat::new(Width::Int8));
        for variant in Slice::variants() {
            let codes = Codes { extra_precision: variant.extra_precision, ..Codes::sliced(variant.width) };
            let expected =
                PackedMatrix::of_parent(&parent, IntFormat { codes, ..IntFormat::new(variant.width) });
            let params = variant.params(cols as u32, FIRST as u32);
            let before = vec![0u32; FIRST * params.sliced_row_words as usize];
            let nothing = vec![0u32; before.len() + expected.words.len()];
            Run::new(variant, params, span(5, rows), format_args!("{rows} x {cols}"))
                .with("words", &whole.words)
                .with("sliced", &nothing)
                .go()
                .same("sliced", &[before, expected.words].concat());
        }
    }
}
