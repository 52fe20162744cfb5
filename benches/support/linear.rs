//! A product with a weight matrix: checked once against the reference, then timed on weights that no cache holds.

#[path = "copies.rs"]
mod copies;
#[path = "peaks.rs"]
mod peaks;
#[path = "shapes.rs"]
mod shapes;

use std::ops::RangeInclusive;
use std::time::Duration;

use copies::copies;
use peaks::Peaks;
use shapes::{MODELS, ROWS, SMALL, Shape, parse, shapes, title};
use wattle::quant::WeightFormat;
use wattle::tuning::{ProductKernel, ProductPath};

use super::support::arguments::Arguments;
use super::support::chain::median_device;
use super::support::products::{Products, check, tuned};
use super::support::roof::Roof;
use super::support::table::Table;
use super::support::{Bench, LONGEST, Result, Row, SLOW_RUNS, Times, microseconds, print_skipped, repeat};

const USAGE: &str =
    "[--all] [--weights f32,int4] [--paths float,integer,matrix] [--shapes 1x4096x4096,4x1024x1024]";

const COLUMNS: [(&str, usize); 10] = [
    ("rows x outputs x inputs", 23),
    ("weights", 7),
    ("path", 7),
    ("us", 15),
    ("device us", 10),
    ("GB/s", 7),
    ("of read", 7),
    ("of copy", 7),
    ("Gop/s", 7),
    ("of peak", 7),
];

/// A product, how it is computed, and how often: times in a run, and copies of its weights.
struct Case {
    shape: Shape,
    format: WeightFormat,
    path: ProductPath,
    kernel: ProductKernel,
    repeats: (u32, u32),
}

/// Checks products of some of the rows, and times them in every format, shape and path. A run is at least `sustained`
/// of them.
pub fn run(name: &'static str, rows: RangeInclusive<u32>, sustained: u32) -> Result<()> {
    let mut arguments = Arguments::read();
    let longest = (!arguments.flag("--all")).then_some(LONGEST);
    let weights = arguments.value("--weights")?.unwrap_or_else(|| "f32,f16,int8,int4,int2".into());
    let names = arguments.value("--paths")?.unwrap_or_else(|| "float,integer,matrix".into());
    let given = arguments.value("--shapes")?;
    arguments.finish(USAGE)?;
    let formats = weights.split(',').map(str::parse).collect::<Result<Vec<WeightFormat>, _>>()?;
    let paths = names.split(',').map(str::parse).collect::<Result<Vec<ProductPath>, _>>()?;
    let given = given.map(|text| text.split(',').map(parse).collect::<Result<Vec<_>, _>>()).transpose()?;
    let rows: Vec<u32> = ROWS.into_iter().filter(|count| rows.contains(count)).collect();
    let shapes = given.unwrap_or_else(|| shapes(&[&SMALL[..], &MODELS].concat(), &rows));

    let mut bench = Bench::open(name)?;
    let (roof, peaks) = (Roof::measure(&bench.gpu)?, Peaks::measure(&bench.gpu)?);
    let table = Table::begin(&COLUMNS);
    let (mut skipped, mut checked) = (Vec::new(), Vec::new());
    for (shape, format) in shapes.iter().flat_map(|shape| formats.iter().map(move |format| (*shape, *format)))
    {
        for &path in &paths {
            let kernel = tuned(&bench.gpu, format, shape, path);
            if !takes(kernel, path) {
                continue;
            }
            if !checked.contains(&(kernel, format)) {
                check(&bench.gpu, kernel, format)?;
                checked.push((kernel, format));
            }
            match repeats(&bench, &roof, (format, shape, path), sustained, longest) {
                Ok(repeats) => {
                    row(&mut bench, &roof, &peaks, &table, &Case { shape, format, path, kernel, repeats })?;
                }
                Err(why) => skipped.push(format!("{:<23}  {format:<5}  {:<7}  {why}", title(shape), path)),
            }
        }
    }
    print_skipped(&skipped);
    Ok(())
}

/// Products of a run, and copies of the weights that they go through.
fn repeats(
    bench: &Bench,
    roof: &Roof,
    (format, shape, path): (WeightFormat, Shape, ProductPath),
    sustained: u32,
    longest: Option<Duration>,
) -> Result<(u32, u32), String> {
    let copies = copies(&bench.gpu, roof, format, shape, path, (SLOW_RUNS, sustained, 1, longest))?;
    Ok((copies.max(sustained), copies))
}

/// Whether a kernel is what a path is about: the others fall back to floats where a weight is none of theirs.
fn takes(kernel: ProductKernel, path: ProductPath) -> bool {
    match kernel {
        ProductKernel::Matvec(_) | ProductKernel::Matmul {} => path == ProductPath::Float,
        ProductKernel::MatvecI8(_) | ProductKernel::MatmulI8 {} => path == ProductPath::Integer,
        ProductKernel::MatmulCoop {} => path == ProductPath::Matrix,
    }
}

fn row(bench: &mut Bench, roof: &Roof, peaks: &Peaks, table: &Table, case: &Case) -> Result<()> {
    let Case { shape, format, path, kernel, repeats } = *case;
    let mut products = Products::new(&bench.gpu, kernel, format, shape, repeats)?;
    let products_per_run = repeats.0;
    let runs = repeat(|| products.chain.run(1))?;
    let times = Times::new(runs.iter().map(|run| run.wall / products_per_run));
    let device = median_device(&runs).map(|device| device / products_per_run);
    let seconds = times.median().as_secs_f64() * f64::from(products_per_run);
    let work = products.chain.work();
    let bytes_per_s = work.total_bytes().least as f64 / seconds;
    let ops_per_s = work.total_ops().least as f64 / seconds;
    let peak = match path {
        ProductPath::Float => Some(peaks.f32_ops_per_s),
        ProductPath::Integer => Some(peaks.i8_ops_per_s),
        // No kernel here measures it: a share of a vendor's figure would be no measurement.
        ProductPath::Matrix => None,
    };
    let share = |rate: f64, most: f64| format!("{:.0}%", 100.0 * rate / most);
    table.row(&[
        title(shape),
        format.to_string(),
        path.to_string(),
        format!("{:.1} ±{:.0}%", microseconds(times.median()), 50.0 * times.spread()),
        device.map_or("-".into(), |device| format!("{:.1}", microseconds(device))),
        format!("{:.2}", bytes_per_s / 1e9),
        share(bytes_per_s, peaks.read_bytes_per_s),
        share(bytes_per_s, roof.bytes_per_s),
        format!("{:.1}", ops_per_s / 1e9),
        peak.map_or("-".into(), |peak| share(ops_per_s, peak)),
    ]);
    let mut metrics = vec![
        ("gigabytes_per_s", bytes_per_s / 1e9),
        ("share_of_read", bytes_per_s / peaks.read_bytes_per_s),
        ("share_of_copy", bytes_per_s / roof.bytes_per_s),
        ("operations_per_s", ops_per_s),
    ];
    metrics.extend(peak.map(|peak| ("share_of_peak", ops_per_s / peak)));
    metrics.extend(device.map(|device| ("device_ns", device.as_nanos() as f64)));
    let (shape, variant) = (title(shape), format!("{format} {}", path));
    bench.record(&Row { name: bench.name, shape, variant, times: &times, metrics })
}
