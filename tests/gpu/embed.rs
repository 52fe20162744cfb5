use wattle::fragments::{Codec, TokenIds};
use wattle::kernels::embed::{Embed, EmbedBy, EmbedParams};
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::reference::embed::{add_positions, embed};

use crate::bound::EPS;
use crate::harness::{Run, in_other_order, span};
use crate::linear::formats_of;
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::golden::Golden;
use crate::support::random::Random;

/// Decoding is the reference's arithmetic; the scale is one product more.
const TOLERANCE: Tolerance = Tolerance::Mixed(0.0, 2.0 * EPS);

/// Every shard of a table, each alone: it writes the rows of its own tokens and no others.
fn check(variant: Embed, format: WeightFormat, width: usize, rows: usize, scale: f32, seed: u64) {
    const VOCAB: usize = 70;
    let mut random = Random::new(seed);
    let mut tokens: Vec<u32> = (0..rows).map(|_| (random.bits() % VOCAB as u64) as u32).collect();
    (tokens[0], tokens[rows - 1]) = (0, VOCAB as u32 - 1);
    if rows > 3 {
        // Beyond the table.
        (tokens[1], tokens[2]) = (VOCAB as u32, u32::MAX);
    }
    let table = random.gaussian(VOCAB * width);
    for shard in [0..VOCAB, 0..33, 33..VOCAB] {
        let part = &table[shard.start * width..shard.end * width];
        let matrix = PackedMatrix::pack(format, shard.len(), width, part).unwrap();
        let unpacked = [vec![f32::NAN; shard.start * width], matrix.unpack()].concat();
        let unpacked = [&unpacked[..], &vec![f32::NAN; (VOCAB - shard.end) * width]].concat();
        let of_shard = shard.start as u32..shard.end as u32;
        let params = EmbedParams::new(format, [VOCAB as u32, width as u32], of_shard, scale);
        let run = Run::new(variant, params, span(2, rows), format_args!("{format}, seed {seed}"));
        // Sequences lie the other way round than their rows.
        let (run, ids) = match variant.by {
            EmbedBy::Token(TokenIds::ByRow) | EmbedBy::Position => (run, tokens.clone()),
            EmbedBy::Token(TokenIds::BySequence) => {
                (run.sequences(in_other_order(2, rows)), tokens.iter().rev().copied().collect())
            }
        };
        let run = run.with("words", &matrix.words).with("token_ids", &ids).out("y", rows * width);
        let run = if variant.codec.is_int() { run.with("scales", &matrix.scales) } else { run };
        let in_table: Vec<u32> = tokens.iter().map(|&id| if id < VOCAB as u32 { id } else { 0 }).collect();
        run.go().close("y", &embed(&unpacked, width, &in_table, scale), TOLERANCE);
    }
}

#[test]
fn rows_agree_with_the_reference() {
    for variant in selected::<Embed>().into_iter().filter(|variant| variant.by != EmbedBy::Position) {
        for format in formats_of(variant.codec) {
            for (seed, width) in [1, 3, 28, 63, 64, 65, 257].into_iter().enumerate() {
                check(variant, format, width, [1, 2, 9][seed % 3], [1.0, 5.3][seed % 2], seed as u64);
            }
        }
    }
}

#[test]
fn rows_are_golden() {
    let golden = Golden::op("embedding");
    let &[vocab, width] = &golden.shape("table")[..] else { panic!("table is [V,d]") };
    let matrix = PackedMatrix::pack(WeightFormat::F32, vocab, width, &golden.floats("table")).unwrap();
    let tokens = golden.indices("ids");
    for (name, scale) in [("embed", 1.0), ("embed_scaled", golden.float("scale"))] {
        let params =
            EmbedParams::new(WeightFormat::F32, [vocab as u32, width as u32], 0..vocab as u32, scale);
        let run = Run::new(
            Embed { codec: Codec::F32, by: EmbedBy::Token(TokenIds::ByRow) },
            params,
            span(0, tokens.len()),
            name,
        );
        let run = run.with("words", &matrix.words).with("token_ids", &tokens);
        run.out("y", tokens.len() * width).go().close("y", &golden.floats(name), Tolerance::Mixed(0.0, 1e-6));
    }
}

/// Every shard of a table of positions, each alone: it adds to the rows at its own and leaves the others.
#[test]
fn positions_are_added_to_what_is_there() {
    let variant = Embed { codec: Codec::F32, by: EmbedBy::Position };
    for (seed, (width, position, rows)) in
        [(1, 0, 1), (33, 0, 7), (64, 5, 6), (257, 11, 1)].into_iter().enumerate()
    {
        let mut random = Random::new(seed as u64);
        let (table, x) = (random.gaussian(12 * width), random.gaussian(rows * width));
        for shard in [0..12, 0..8, 8..12] {
            let part = &table[shard.start * width..shard.end * width];
            let matrix = PackedMatrix::pack(WeightFormat::F32, shard.len(), width, part).unwrap();
            let of_shard = shard.start as u32..shard.end as u32;
            let params = EmbedParams::new(WeightFormat::F32, [12, width as u32], of_shard, 1.0);
            let what = format!("width {width}, {rows} rows from {position}, shard {shard:?}");
            let run = Run::new(variant, params, span(position, rows), what).with("words", &matrix.words);
            let mut expected = x.clone();
            for (row, x) in expected.chunks_mut(width).enumerate() {
                if shard.contains(&(position + row)) {
                    add_positions(x, &table, width, &[(position + row) as u32]);
                }
            }
            run.with("y", &x).go().close("y", &expected, Tolerance::Mixed(0.0, 2.0 * EPS));
        }
    }
}
