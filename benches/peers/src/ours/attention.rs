//! Attention by the kernels that a pass has for it.

use wattle::Gpu;
use wattle::energy::Phase;
use wattle::reference::cache_rows::stored;

use super::Ours;
use crate::attention::case::Case;
use crate::attention::layer::{Layer, Numbers as Drawn, element};
use crate::check::{Found, Numbers, Task};
use crate::heads::Shape;
use crate::support::Result;

/// Uploads, and checks the result. A prompt is computed in one piece.
pub fn prepare(gpu: &Gpu, case: &Case, copies: u32) -> Result<Ours> {
    let drawn = Drawn::draw(case, case.tokens);
    let mut layer = Layer::new(gpu, case, &drawn, (case.tokens, copies))?;
    layer.run()?;
    let y = gpu.block_on(layer.out.read::<f32>(gpu, 0, drawn.q.len()))?;
    let weights = [&drawn.k, &drawn.v].map(|numbers| seen(case, numbers)).concat();
    let numbers = Numbers { task: Task::Attention(Shape::of(*case)), x: drawn.q, weights };
    Ours::checked(layer.chains, layer.kernel, numbers, &Found { y, routes: Vec::new() })
}

/// Keys or values of the tokens that one sequence still has, `[tokens, kv_heads, width]`, as kernels see them: those of a prompt
/// have not been stored yet.
fn seen(case: &Case, numbers: &[f32]) -> Vec<f32> {
    let tokens = case.tokens - case.slots()..case.tokens;
    let tokens = if case.phase == Phase::Prefill { 0..case.tokens } else { tokens };
    let heads = 0..case.heads.kv_heads;
    let rows = tokens.flat_map(|token| heads.clone().map(move |head| element(case, numbers, token, head)));
    let rows: Vec<f32> = rows.flatten().copied().collect();
    match case.phase {
        Phase::Prefill => rows,
        Phase::Decode => stored(case.cache, &rows, case.heads.head_dim as usize),
    }
}
