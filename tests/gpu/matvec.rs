use wattle::fragments::{Codec, InputNorm, InputRows, Reduce};
use wattle::kernels::matvec::{Matvec, VecRows, VecTile};
use wattle::kernels::tile_rows::TileRows;
use wattle::model::layout::ExpertGroup;
use wattle::quant::{PackedMatrix, WeightFormat, Width};

use crate::harness::{Run, gpu, is_supported, span};
use crate::linear::{Linear, Shape, Site, formats, formats_of};
use crate::select::selected;
use crate::support::random::Random;
use crate::tile_rows::{Product, check_with};

/// Rows, inputs, outputs.
const SHAPES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (3, 3, 2),
    (2, 63, 5),
    (1, 64, 63),
    (5, 65, 4),
    (4, 257, 7),
    (2, 130, 66),
    (5, 4, 3),
    (1, 1023, 9),
];
const EXPERTS: usize = 5;
const CHOICES: usize = 3;
/// A part of three experts, as in `Matvec::variants`, that lie in another order and not side by side.
const PLACES: [u32; EXPERTS] = [ExpertGroup::ELSEWHERE, 4, ExpertGroup::ELSEWHERE, 0, 2];

fn plain(codec: Codec) -> Matvec {
    let tile = VecTile { lanes: 64, team: 64, outputs: 4, rows: 1 };
    Matvec { tile, ..Matvec::new(codec, 1) }
}

fn check(variant: Matvec, format: WeightFormat, shape: (usize, usize, usize), seed: u64) {
    let (rows, inputs, outputs) = shape;
    let Matvec { inputs: read, epilogue, .. } = variant;
    if let VecRows::Tiles(rows) = variant.rows
        && (rows != TileRows::Dense)
    {
        let product = Product { inputs: read, epilogue, rows };
        return check_with(variant, product, format, shape, seed, |layer| layer.by_codes = true);
    }
    let selected = matches!(variant.rows, VecRows::Selected | VecRows::SelectedOf(_));
    let inputs = if variant.inputs == InputRows::Quads { inputs.next_multiple_of(4) } else { inputs };
    // Odd seeds are on the way out of the experts, where every choice has an input of its own.
    let slots_per_input = if selected && seed.is_multiple_of(2) { CHOICES } else { 1 };
    let x_rows = if selected { rows * CHOICES / slots_per_input } else { rows };
    let table = match variant.rows {
        VecRows::SelectedOf(_) => PLACES,
        _ => [0, 1, 2, 3, 4],
    };
    let experts = if selected { EXPERTS } else { 1 };
    let shape = Shape { rows: x_rows, inputs, outputs, experts };
    let mut layer = Linear::random(format, variant.norm, variant.epilogue, shape, seed);
    layer.by_codes = true;
    layer.in_i8 = variant.inputs == InputRows::I8;
    let mut random = Random::new(seed);
    let chosen: Vec<u32> = (0..rows * CHOICES).map(|_| (random.bits() % EXPERTS as u64) as u32).collect();
    let sites: Vec<Site> = match variant.rows {
        VecRows::Tiles(_) => (0..rows).map(|row| Site { input: row, output: row, expert: 0 }).collect(),
        VecRows::Last => vec![Site { input: rows - 1, output: 0, expert: 0 }],
        VecRows::Selected | VecRows::SelectedOf(_) => {
            let place = |slot: usize| table[chosen[slot] as usize];
            let site =
                |slot| Site { input: slot / slots_per_input, output: slot, expert: place(slot) as usize };
            (0..rows * CHOICES).filter(|slot| place(*slot) != ExpertGroup::ELSEWHERE).map(site).collect()
        }
    };
    if selected {
        layer.params.choices = CHOICES as u32;
        layer.params.slots_per_input = slots_per_input as u32;
    }
    let out_rows = if selected { chosen.len() } else { sites.len() };
    layer.check_some(&sites, out_rows, |params| {
        let run = Run::new(variant, params, span(7, rows), format_args!("{format}, {shape:?}, seed {seed}"));
        let run = if selected { run.with("expert_of_slot", &chosen) } else { run };
        match variant.rows {
            VecRows::SelectedOf(_) => run.with("place_of_expert", &table),
            _ => run,
        }
    });
}

/// Each variant on a few shapes and formats, by turns.
#[test]
fn variants_agree_with_the_reference() {
    for (i, variant) in selected::<Matvec>().into_iter().enumerate() {
        let formats = formats_of(variant.codec);
        for seed in [i, i + 4, 2 * i + 7] {
            check(variant, formats[seed % formats.len()], SHAPES[seed % SHAPES.len()], seed as u64);
        }
    }
}

#[test]
fn every_format_takes_every_shape() {
    for (i, shape) in SHAPES.into_iter().enumerate() {
        for (f, format) in formats(i).enumerate() {
            let codec = Codec::of(format, gpu().with_baseline(i % 2 == 0).capabilities());
            check(plain(codec), format, shape, (f + i) as u64);
        }
    }
}

/// Planes of lower bits may hold anything: the words of a width are those its work counts.
#[test]
fn widths_read_only_their_planes() {
    let (inputs, outputs) = (130, 8);
    let mut random = Random::new(9);
    let weights = random.gaussian(outputs * inputs);
    for (format, read) in [
        ("int1:planes", 1..3),
        ("int2:planes", 0..2),
        ("int2:ep:planes", 1..3),
        ("int3:planes", 1..4),
        ("int4:planes", 1..5),
        ("int6:planes", 1..6),
        ("int8:planes", 1..7),
    ] {
        let format: WeightFormat = format.parse().unwrap();
        let mut layer = Linear::plain(
            PackedMatrix::pack(format, outputs, inputs, &weights).unwrap(),
            1,
            random.gaussian(inputs),
        );
        let run = |layer: &Linear| {
            let variant = plain(Codec::of(format, gpu().capabilities()));
            layer
                .bind(Run::new(variant, layer.params, span(0, 1), format))
                .out("y", outputs)
                .go()
                .words("y")
                .to_vec()
        };
        let before = run(&layer);
        for row in layer.matrix.words.chunks_exact_mut(format.row_words(inputs)) {
            let mut words = row;
            for (n, (_, count)) in format.planes(inputs).enumerate() {
                let (plane, rest) = words.split_at_mut(count);
                if !read.contains(&n) {
                    plane.fill(0xdead_beef);
                }
                words = rest;
            }
        }
        assert_eq!(run(&layer), before, "{format}");
    }
}

#[test]
fn any_number_of_lanes_will_do() {
    let codec = Codec::of(WeightFormat::int(Width::Int4), gpu().capabilities());
    for lanes in [1, 32, 128, 256] {
        for reduce in Reduce::ALL {
            let tile = VecTile { lanes, team: lanes, outputs: 4, rows: 1 };
            let variant = Matvec { tile, reduce, norm: InputNorm::Layer, ..plain(codec) };
            for (i, shape) in SHAPES.into_iter().enumerate().filter(|_| is_supported(&variant)) {
                check(variant, formats_of(codec)[i % 4], shape, i as u64);
            }
        }
    }
    for (inputs, lanes) in [(1, 32), (512, 32), (513, 64), (4096, 256), (100_000, 256)] {
        assert_eq!(VecTile::shared(inputs, 1).lanes, lanes, "{inputs} inputs");
    }
}

/// More workgroups than one dimension of a grid has, and one too many in two.
#[test]
fn workgroups_left_over_by_folding_do_nothing() {
    for rows in [VecRows::DENSE, VecRows::Last] {
        check(Matvec { rows, ..plain(Codec::F32) }, WeightFormat::F32, (1, 1, 4 * 65_537), 0);
    }
}
