//! A product with a weight matrix: checked once against the reference, then timed on weights that no cache holds.

#[path = "copies.rs"]
mod copies;

use copies::copies;
use wattle::quant::WeightFormat;

use super::support::arguments::Arguments;
use super::support::chain::median_device;
use super::support::products::{Products, check, tuned};
use super::support::roof::Roof;
use super::support::table::Table;
use super::support::{Bench, LONGEST, Result, Row, SLOW_RUNS, Times, microseconds, print_skipped, repeat};

const USAGE: &str = "[--all] [--weights f32,f16,int8,int4,int2]";

/// Rows of the input, outputs, inputs.
pub type Shape = [u32; 3];

const COLUMNS: [(&str, usize); 7] = [
    ("rows x outputs x inputs", 23),
    ("weights", 12),
    ("us", 16),
    ("device us", 10),
    ("GB/s", 8),
    ("of copy", 7),
    ("Gop/s", 8),
];

/// Checks a product and times it in every format and shape.
pub fn run(name: &'static str, shapes: &[Shape]) -> Result<()> {
    let mut arguments = Arguments::read();
    let all = arguments.flag("--all");
    let weights = arguments.value("--weights")?.unwrap_or_else(|| "f32,f16,int8,int4,int2".into());
    arguments.finish(USAGE)?;
    let formats = weights.split(',').map(str::parse).collect::<Result<Vec<WeightFormat>, _>>()?;
    let mut bench = Bench::open(name)?;
    let mut checked = Vec::new();
    for (format, shape) in formats.iter().flat_map(|format| shapes.iter().map(move |shape| (*format, *shape)))
    {
        let kernel = tuned(&bench.gpu, format, shape);
        if !checked.contains(&(kernel, format)) {
            check(&bench.gpu, kernel, format)?;
            checked.push((kernel, format));
        }
    }
    let roof = Roof::measure(&bench.gpu)?;
    let table = Table::begin(&COLUMNS);
    let mut skipped = Vec::new();
    let longest = (!all).then_some(LONGEST);
    for shape in shapes {
        for format in &formats {
            match copies(&bench.gpu, &roof, *format, *shape, (SLOW_RUNS, 1, longest)) {
                Ok(copies) => row(&mut bench, &roof, &table, (*format, *shape, copies))?,
                Err(reason) => skipped.push(format!("{:<23}  {format:<5}  {reason}", title(*shape))),
            }
        }
    }
    print_skipped(&skipped);
    Ok(())
}

fn row(
    bench: &mut Bench,
    roof: &Roof,
    table: &Table,
    (format, shape, copies): (WeightFormat, Shape, u32),
) -> Result<()> {
    let mut products = Products::new(&bench.gpu, tuned(&bench.gpu, format, shape), format, shape, copies)?;
    let runs = repeat(|| products.chain.run(1))?;
    let times = Times::new(runs.iter().map(|run| run.wall / copies));
    let device = median_device(&runs).map(|device| device / copies);
    let seconds = times.median().as_secs_f64() * f64::from(copies);
    let work = products.chain.work();
    let bytes_per_s = work.total_bytes().least as f64 / seconds;
    let ops_per_s = work.total_ops().least as f64 / seconds;
    table.row(&[
        title(shape),
        format.to_string(),
        format!("{:.1} ±{:.0}%", microseconds(times.median()), 50.0 * times.spread()),
        device.map_or("-".into(), |device| format!("{:.1}", microseconds(device))),
        format!("{:.2}", bytes_per_s / 1e9),
        format!("{:.0}%", 100.0 * bytes_per_s / roof.bytes_per_s),
        format!("{:.1}", ops_per_s / 1e9),
    ]);
    let mut metrics = vec![("gigabytes_per_s", bytes_per_s / 1e9), ("operations_per_s", ops_per_s)];
    metrics.extend(device.map(|device| ("device_ns", device.as_nanos() as f64)));
    let (shape, variant) = (title(shape), format.to_string());
    bench.record(&Row { name: bench.name, shape, variant, times: &times, metrics })
}

fn title([rows, outputs, inputs]: Shape) -> String {
    format!("{rows} x {outputs} x {inputs}")
}
