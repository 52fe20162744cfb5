use wattle::fragments::{Codec, InputNorm};
use wattle::kernel::Kernel;
use wattle::kernels::expert_plan::max_tiles;
use wattle::kernels::matmul::Matmul;
use wattle::kernels::tile_rows::TileRows;
use wattle::quant::WeightFormat;
use wattle::reference::expert_plan::plan;

use crate::harness::{Run, gpu, span};
use crate::linear::{Linear, Shape, Site, formats, formats_of};
use crate::moe::{slot_of_place, tile_map};
use crate::select::selected;
use crate::tile_rows::{EXPERTS, Product, check_with};

/// Rows, inputs, outputs; a tile is 32 rows by 32 outputs by 32 inputs.
pub const SHAPES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (3, 3, 2),
    (31, 63, 33),
    (33, 64, 5),
    (65, 33, 63),
    (32, 32, 32),
    (5, 257, 31),
    (63, 4, 65),
    (2, 130, 3),
];
pub fn product_of(Matmul { inputs, epilogue, rows, .. }: Matmul) -> Product {
    Product { inputs, epilogue, rows }
}

fn check(variant: Matmul, format: WeightFormat, shape: (usize, usize, usize), seed: u64) {
    check_with(variant, product_of(variant), format, shape, seed, |_| ());
}

/// Each variant on a few shapes and formats, by turns.
#[test]
fn variants_agree_with_the_reference() {
    for (i, variant) in selected::<Matmul>().into_iter().enumerate() {
        let formats = formats_of(variant.codec);
        for seed in [i, i + 4] {
            check(variant, formats[seed % formats.len()], SHAPES[seed % SHAPES.len()], seed as u64);
        }
    }
}

#[test]
fn every_format_takes_every_shape() {
    let grouped = TileRows::Grouped { experts: EXPERTS as u32 };
    for (i, shape) in SHAPES.into_iter().enumerate() {
        for (f, format) in formats(i).enumerate() {
            let codec = Codec::of(format, gpu().with_baseline(i % 2 == 0).capabilities());
            let rows = if (f + i).is_multiple_of(3) { grouped } else { TileRows::Dense };
            check(Matmul { rows, ..Matmul::new(codec, shape.1 as u32) }, format, shape, (f + i) as u64);
        }
    }
}

/// More workgroups than one dimension of a grid has, and one too many in two: it must find no tile. Most tiles are
/// those of experts that nobody chose.
#[test]
fn workgroups_left_over_by_folding_do_nothing() {
    const ROWS: usize = 65_539;
    let rows = TileRows::Grouped { experts: ROWS as u32 };
    let variant = Matmul { rows, ..Matmul::new(Codec::F32, 1) };
    let shape = Shape { rows: ROWS, inputs: 1, outputs: 1, experts: ROWS };
    let mut layer = Linear::random(WeightFormat::F32, InputNorm::None, variant.epilogue, shape, 0);
    let plan = plan(&[7; ROWS], ROWS, 1);
    let tiles = max_tiles(ROWS as u64, ROWS as u32) as usize;
    layer.params.max_tiles = tiles as u32;
    let sites: Vec<_> = (0..ROWS).map(|row| Site { input: row, output: row, expert: 7 }).collect();
    layer.check(&sites, |params| {
        assert_eq!(variant.workgroups(&params, span(0, ROWS)), 2 * 32_770 - 1);
        Run::new(variant, params, span(0, ROWS), format_args!("{shape:?}"))
            .with("tile_map", &tile_map(&plan, tiles))
            .with("slot_of_place", &slot_of_place(&plan))
    });
}
