//! What it costs to launch a kernel, in three regimes: each dispatch submitted and waited for, all in one submit, and
//! one dispatch that does the work of all.

use std::collections::HashMap;
use std::time::Duration;

use wattle::fragments::{InputNorm, Reduce};
use wattle::kernel::{Launch, Span};
use wattle::kernels::norm::{Norm, NormParams};
use wattle::{Gpu, Tensor};

use super::support::chain::{Chain, Elapsed, Link, median_device};
use super::support::table::Table;
use super::support::{Bench, Result, Row, Times, microseconds, repeat};

/// Dispatches of a run, each of which needs the result of the one before.
const COUNT: u32 = 256;
/// Elements of the row that each of them norms.
const WIDTH: u32 = 256;

/// Measures and prints every regime.
pub fn measure(bench: &mut Bench) -> Result<()> {
    let tensors = tensors(&bench.gpu)?;
    let chain = |links: &[Link], rows, told_rows| {
        let [grid, told] = [rows, told_rows].map(Span::of_rows);
        Chain::new(&bench.gpu, links, &tensors, &[grid], &[told.into()])
    };
    let (single, many) = ([link(&bench.gpu, 0)], (0..COUNT).map(|n| link(&bench.gpu, n)).collect::<Vec<_>>());
    let mut alone = chain(&single, 1, 1)?;
    let regimes = [
        ("op-by-op", op_by_op(&mut alone)?),
        ("chained", repeated(chain(&many, 1, 1)?)?),
        ("fused", repeated(chain(&single, COUNT, COUNT)?)?),
        // The kernel is told of no rows, and returns: what is left is the launch, and waiting for the one before.
        ("empty, chained", repeated(chain(&many, 1, 0)?)?),
    ];
    let table = Table::begin(&[("launch", 16), ("wall us", 14), ("device us", 9)]);
    for (name, runs) in &regimes {
        let times = Times::new(runs.iter().map(|run| run.wall / COUNT));
        let device = median_device(runs).map(|device| device / COUNT);
        table.row(&[
            (*name).to_owned(),
            format!("{:.2} ±{:.0}%", microseconds(times.median()), 50.0 * times.spread()),
            device.map_or("-".into(), |device| format!("{:.2}", microseconds(device))),
        ]);
        let metrics = device.map(|device| ("device_ns", device.as_nanos() as f64)).into_iter().collect();
        let shape = format!("norm, {COUNT} rows of {WIDTH}");
        bench.record(&Row { name: "launch", shape, variant: (*name).to_owned(), times: &times, metrics })?;
    }
    Ok(())
}

fn op_by_op(chain: &mut Chain) -> Result<Vec<Elapsed>> {
    repeat(|| {
        let mut sum = Elapsed { wall: Duration::ZERO, device: Some(Duration::ZERO) };
        for _ in 0..COUNT {
            let elapsed = chain.run(1)?;
            sum.wall += elapsed.wall;
            sum.device = sum.device.zip(elapsed.device).map(|(sum, device)| sum + device);
        }
        Ok(sum)
    })
}

fn repeated(mut chain: Chain) -> Result<Vec<Elapsed>> {
    repeat(|| chain.run(1))
}

/// The `n`-th link: there and back between two tensors.
fn link(gpu: &Gpu, n: u32) -> Link {
    let reduce = Reduce::of(gpu.capabilities());
    let variant = Norm { norm: InputNorm::Rms, residual: false, kept: false, scaled: false, reduce };
    let launch = Launch {
        variant,
        params: NormParams { in_features: WIDTH, eps: 1e-6, rows_per_token: 1, factor: 1.0 },
    };
    let (x, y) = if n.is_multiple_of(2) { ("there", "back") } else { ("back", "there") };
    (launch.shared(), vec![("x", x.into()), ("y", y.into()), ("norm_weight", "weight".into())])
}

fn tensors(gpu: &Gpu) -> Result<HashMap<String, Tensor>> {
    let mut tensors = HashMap::new();
    for (name, rows) in [("there", COUNT), ("back", COUNT), ("weight", 1)] {
        let ones = vec![1.0f32; (rows * WIDTH) as usize];
        tensors.insert(name.into(), gpu.block_on(Tensor::upload(gpu, name, &ones))?);
    }
    Ok(tensors)
}
