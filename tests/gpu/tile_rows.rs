//! Products over tiles of rows, whichever kernel computes them.

use wattle::fragments::{Epilogue, InputNorm, InputRows};
use wattle::kernel::Kernel;
use wattle::kernels::expert_plan::{TILE_ROWS, max_tiles};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::tile_rows::{Chosen, TileRows};
use wattle::model::layout::ExpertGroup;
use wattle::quant::WeightFormat;
use wattle::reference::expert_plan::plan;

use crate::harness::{Run, span};
use crate::linear::{Linear, Shape, Site};
use crate::moe::{slot_of_place, tile_map};
use crate::support::random::Random;

/// What a product does, but for how.
#[derive(Clone, Copy)]
pub struct Product {
    pub inputs: InputRows,
    pub epilogue: Epilogue,
    pub rows: TileRows,
}

/// As in `TileRows::variants`.
pub const EXPERTS: usize = 8;
const CHOICES: usize = 3;
/// A part of three experts that lie in another order and not side by side.
const PLACES: [u32; EXPERTS] = {
    const NOT: u32 = ExpertGroup::ELSEWHERE;
    [NOT, 6, NOT, NOT, 0, 2, NOT, NOT]
};

/// Choices of experts: at random, all of them the same, and with experts that nobody chooses.
fn routes(rows: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    let mut any = || (random.bits() % EXPERTS as u64) as u32;
    (0..rows * CHOICES).map(|_| any()).map(|e| [e, 5, e & 0b101][seed as usize % 3]).collect()
}

/// Checks a product as a kernel computes it, of a random layer that `change` has changed.
pub fn check_with<K: Kernel<Params = LinearParams>>(
    kernel: K,
    product: Product,
    format: WeightFormat,
    (rows, inputs, outputs): (usize, usize, usize),
    seed: u64,
    change: impl FnOnce(&mut Linear),
) {
    if let TileRows::Chosen(chosen) = product.rows {
        return check_chosen(kernel, product, chosen, format, (rows, inputs, outputs), seed, change);
    }
    if let TileRows::Heads(heads) = product.rows {
        return check_heads(kernel, product, heads as usize, format, (rows, inputs, outputs), (seed, change));
    }
    let grouped = product.rows != TileRows::Dense;
    let inputs = if product.inputs == InputRows::Quads { inputs.next_multiple_of(4) } else { inputs };
    // As in `matvec`: into the experts, out of the experts.
    let slots_per_input = if grouped && seed.is_multiple_of(2) { CHOICES } else { 1 };
    let x_rows = if grouped { rows * CHOICES / slots_per_input } else { rows };
    let shape = Shape { rows: x_rows, inputs, outputs, experts: if grouped { EXPERTS } else { 1 } };
    let mut layer = Linear::random(format, InputNorm::None, product.epilogue, shape, seed);
    layer.in_i8 = product.inputs == InputRows::I8;
    change(&mut layer);
    let routes = routes(rows, seed);
    let what = format_args!("{format}, {shape:?}, seed {seed}").to_string();
    if !grouped {
        let sites: Vec<_> = (0..rows).map(|row| Site { input: row, output: row, expert: 0 }).collect();
        layer.check(&sites, |params| Run::new(kernel, params, span(7, rows), &what));
        return;
    }
    layer.params.choices = CHOICES as u32;
    layer.params.slots_per_input = slots_per_input as u32;
    let is_part = matches!(product.rows, TileRows::GroupedOf(_));
    let place = |slot: usize| if is_part { PLACES[routes[slot] as usize] } else { routes[slot] };
    let site = |slot| Site { input: slot / slots_per_input, output: slot, expert: place(slot) as usize };
    let here = (0..rows * CHOICES).filter(|slot| place(*slot) != ExpertGroup::ELSEWHERE);
    let sites: Vec<_> = here.map(site).collect();
    let plan = plan(&routes, EXPERTS, CHOICES);
    let tiles = max_tiles(routes.len() as u64, EXPERTS as u32) as usize;
    layer.params.max_tiles = tiles as u32;
    layer.check_some(&sites, routes.len(), |params| {
        let run = Run::new(kernel, params, span(7, rows), &what)
            .with("tile_map", &tile_map(&plan, tiles))
            .with("slot_of_place", &slot_of_place(&plan));
        if is_part { run.with("place_of_expert", &PLACES) } else { run }
    });
}

/// The same of heads, each with a matrix of its own.
fn check_heads<K: Kernel<Params = LinearParams>>(
    kernel: K,
    product: Product,
    heads: usize,
    format: WeightFormat,
    (rows, inputs, outputs): (usize, usize, usize),
    (seed, change): (u64, impl FnOnce(&mut Linear)),
) {
    let inputs = if product.inputs == InputRows::Quads { inputs.next_multiple_of(4) } else { inputs };
    let shape = Shape { rows: rows * heads, inputs, outputs, experts: heads };
    let mut layer = Linear::random(format, InputNorm::None, product.epilogue, shape, seed);
    layer.in_i8 = product.inputs == InputRows::I8;
    change(&mut layer);
    layer.params.choices = heads as u32;
    let sites: Vec<_> =
        (0..rows * heads).map(|slot| Site { input: slot, output: slot, expert: slot % heads }).collect();
    let what = format_args!("{format}, {shape:?}, seed {seed}").to_string();
    layer.check(&sites, |params| Run::new(kernel, params, span(7, rows), &what));
}

/// The same of experts that chose their tokens, into them or out of them.
fn check_chosen<K: Kernel<Params = LinearParams>>(
    kernel: K,
    product: Product,
    chosen: Chosen,
    format: WeightFormat,
    (rows, inputs, outputs): (usize, usize, usize),
    seed: u64,
    change: impl FnOnce(&mut Linear),
) {
    let inputs = if product.inputs == InputRows::Quads { inputs.next_multiple_of(4) } else { inputs };
    let (taken, slots) = (chosen.slots.share.of(rows as u32) as usize, chosen.slots.of(rows as u32) as usize);
    let x_rows = if chosen.by_token { rows } else { slots };
    let shape = Shape { rows: x_rows, inputs, outputs, experts: EXPERTS };
    let mut layer = Linear::random(format, InputNorm::None, product.epilogue, shape, seed);
    layer.in_i8 = product.inputs == InputRows::I8;
    change(&mut layer);
    // Neighbouring tokens from another one on for each expert.
    let token_of_slot: Vec<u32> =
        (0..slots).map(|slot| ((slot / taken * 5 + slot % taken) % rows) as u32).collect();
    let place = |slot: usize| match chosen.members {
        Some(_) => PLACES[slot / taken],
        None => (slot / taken) as u32,
    };
    let input = |slot: usize| if chosen.by_token { token_of_slot[slot] as usize } else { slot };
    let site = |slot| Site { input: input(slot), output: slot, expert: place(slot) as usize };
    let sites: Vec<_> = (0..slots).filter(|slot| place(*slot) != ExpertGroup::ELSEWHERE).map(site).collect();
    let tiles = chosen.slots.tiles(rows as u32) as usize;
    let of_expert = |expert: u32| {
        let tile =
            move |first: u32| [expert, expert * taken as u32 + first, TILE_ROWS.min(taken as u32 - first), 0];
        (0..taken as u32).step_by(TILE_ROWS as usize).map(tile)
    };
    let map: Vec<[u32; 4]> = (0..EXPERTS as u32).flat_map(of_expert).collect();
    assert_eq!(map.len(), tiles);
    layer.params.max_tiles = tiles as u32;
    let what = format_args!("{format}, {shape:?}, seed {seed}").to_string();
    layer.check_some(&sites, slots, |params| {
        let run = Run::new(kernel, params, span(7, rows), &what).with("tile_map", &map);
        let run = if chosen.by_token { run.with("token_of_slot", &token_of_slot) } else { run };
        if chosen.members.is_some() { run.with("place_of_expert", &PLACES) } else { run }
    });
}
