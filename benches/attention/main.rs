//! Attention of one layer, prompts and steps, local and global, at the head shapes of published models.
//!
//! `cargo bench --bench attention -- [--all] [--models gemma3-1b] [--phases prefill,decode] [--caches f32,f16,int8]
//! [--paths float,matrix] [--tokens 2048]`, and with `--models gemma3-1b --caches f16 --curve FILE.svg` a picture of a step's time over
//! the context.

#[expect(dead_code, reason = "the comparison with others uses the rest")]
#[path = "../support/attention/mod.rs"]
mod attention;
mod check;
#[expect(dead_code, reason = "the bench of products uses the rest")]
#[path = "../support/copies.rs"]
mod copies;
mod curve;
#[path = "../support/peaks.rs"]
mod peaks;
#[expect(dead_code, reason = "an example uses the rest")]
#[path = "../support/plot.rs"]
mod plot;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::Write;
use std::time::Duration;

use attention::case::{Case, Heads, MODELS, cases};
use attention::layer::{self, CHUNK, Layer, Numbers};
use check::check;
use copies::rotated;
use curve::Curve;
use peaks::Peaks;
use support::arguments::Arguments;
use support::chain::median_device;
use support::roof::Roof;
use support::table::Table;
use support::{Bench, LONGEST, Result, Row, SLOW_RUNS, Times, microseconds, print_skipped, repeat};
use wattle::energy::Phase;
use wattle::fragments::CacheFormat;
use wattle::tuning::ProductPath;

const USAGE: &str = "[--all] [--models gemma3-1b] [--phases prefill,decode] [--caches f32,f16,int8] \
                     [--paths float,matrix] [--tokens 2048] [--curve FILE.svg]";

const COLUMNS: [(&str, usize); 13] = [
    ("attention", 22),
    ("tokens", 14),
    ("batch", 5),
    ("cache", 5),
    ("path", 6),
    ("us", 16),
    ("device us", 10),
    ("MB", 9),
    ("GB/s", 7),
    ("of read", 7),
    ("of copy", 7),
    ("Gop/s", 7),
    ("of peak", 7),
];

fn main() -> std::process::ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    let longest = (!arguments.flag("--all")).then_some(LONGEST);
    let models = arguments.value("--models")?.map_or(Ok(MODELS.to_vec()), |names| self::models(&names))?;
    let phases = arguments.value("--phases")?.unwrap_or_else(|| "prefill,decode".into());
    let caches = arguments.value("--caches")?.unwrap_or_else(|| "f32,f16,int8".into());
    let paths = arguments.value("--paths")?.unwrap_or_else(|| "float,matrix".into());
    let most = arguments.value("--tokens")?.map_or(Ok(u32::MAX), |most| most.parse())?;
    let picture = arguments.value("--curve")?;
    arguments.finish(USAGE)?;
    let phases = phases.split(',').map(phase).collect::<Result<Vec<_>>>()?;
    let caches = caches.split(',').map(str::parse).collect::<Result<Vec<CacheFormat>, _>>()?;

    let paths = paths.split(',').map(path).collect::<Result<Vec<_>>>()?;
    if picture.is_some() && !phases.contains(&Phase::Decode) {
        return Err("a curve is of steps: --phases decode".into());
    }
    // A file that cannot be written is known before anything is measured.
    let picture = picture.map(|file| fs::File::create(&file).map(|open| (file, open))).transpose()?;
    let mut curve = picture.is_some().then(|| Curve::new(&models, &caches)).transpose()?;
    let mut bench = Bench::open("attention")?;
    let (roof, peaks) = (Roof::measure(&bench.gpu)?, Peaks::measure(&bench.gpu)?);
    let table = Table::begin(&COLUMNS);
    let (mut skipped, mut checked, mut no_matrices) = (Vec::new(), Vec::new(), false);
    for case in cases((&models, &phases), (&caches, &paths), most) {
        if case.path == ProductPath::Matrix && !bench.gpu.capabilities().has_matrices() {
            no_matrices = true;
            continue;
        }
        // What a kernel is made for.
        let kind = (case.heads, case.phase, case.cache, case.path, case.window.is_some());
        if !checked.contains(&kind) {
            check(&bench.gpu, &case)?;
            checked.push(kind);
        }
        match row(&mut bench, (&roof, &peaks), &table, &case, longest)? {
            Ok(time) => curve.iter_mut().for_each(|curve| curve.add(&case, time)),
            Err(why) => skipped.push(format!(
                "{case:<22}  {:>14}  {:>5}  {:<5}  {:<6}  {why}",
                tokens(&case),
                case.batch,
                case.cache,
                case.path
            )),
        }
    }
    if no_matrices {
        skipped.push("path matrix: the device has no cooperative matrices".into());
    }
    print_skipped(&skipped);
    if let (Some((file, mut open)), Some(curve)) = (picture, curve) {
        open.write_all(curve.svg(&bench.measured_on())?.as_bytes())?;
        println!("\nthe time of a step over the context: {file}");
    }
    Ok(())
}

fn models(names: &str) -> Result<Vec<Heads>> {
    let find = |name: &str| {
        let found = MODELS.into_iter().find(|heads| heads.name == name);
        let known = || MODELS.map(|heads| heads.name).join(", ");
        found.ok_or_else(|| format!("there are no heads '{name}'; there are {}", known()).into())
    };
    names.split(',').map(find).collect()
}

fn phase(name: &str) -> Result<Phase> {
    match name {
        "prefill" => Ok(Phase::Prefill),
        "decode" => Ok(Phase::Decode),
        other => Err(format!("there is no phase '{other}'; there are prefill and decode").into()),
    }
}

fn path(name: &str) -> Result<ProductPath> {
    let known = [ProductPath::Float, ProductPath::Matrix];
    let found = known.into_iter().find(|path| path.to_string() == name);
    found.ok_or_else(|| format!("there is no path '{name}'; there are float and matrix").into())
}

fn tokens(case: &Case) -> String {
    match case.phase {
        Phase::Prefill => format!("prefill {}", case.tokens),
        Phase::Decode => format!("decode {}", case.tokens),
    }
}

/// Measures and prints a row, and returns its time; or says why not.
fn row(
    bench: &mut Bench,
    (roof, peaks): (&Roof, &Peaks),
    table: &Table,
    case: &Case,
    longest: Option<Duration>,
) -> Result<Result<Duration, String>> {
    let copies = match layer::copies(&bench.gpu, roof, case, rotated(&bench.gpu), (SLOW_RUNS, longest)) {
        Ok(copies) => copies,
        Err(why) => return Ok(Err(why)),
    };
    let mut layer = Layer::new(&bench.gpu, case, &Numbers::draw(case, CHUNK), (CHUNK, copies))?;
    let runs = repeat(|| layer.run())?;
    let times = Times::new(runs.iter().map(|run| run.wall / layer.times));
    let device = median_device(&runs).map(|device| device / layer.times);
    let (work, seconds) = (layer.work(), times.median().as_secs_f64() * f64::from(layer.times));
    let bytes = work.total_bytes().least as f64;
    let (bytes_per_s, ops_per_s) = (bytes / seconds, work.total_ops().least as f64 / seconds);
    // No kernel here measures that of matrices: a share of a vendor's figure would be no measurement.
    let peak = (case.path != ProductPath::Matrix).then_some(peaks.f32_ops_per_s);
    let share = |rate: f64, most: f64| format!("{:.0}%", 100.0 * rate / most);
    table.row(&[
        case.to_string(),
        tokens(case),
        case.batch.to_string(),
        case.cache.to_string(),
        case.path.to_string(),
        format!("{:.1} ±{:.0}%", microseconds(times.median()), 50.0 * times.spread()),
        device.map_or("-".into(), |device| format!("{:.1}", microseconds(device))),
        format!("{:.3}", bytes / f64::from(layer.times) / 1e6),
        format!("{:.2}", bytes_per_s / 1e9),
        share(bytes_per_s, peaks.read_bytes_per_s),
        share(bytes_per_s, roof.bytes_per_s),
        format!("{:.1}", ops_per_s / 1e9),
        peak.map_or("-".into(), |peak| share(ops_per_s, peak)),
    ]);
    let mut metrics = vec![
        ("bytes", bytes / f64::from(layer.times)),
        ("gigabytes_per_s", bytes_per_s / 1e9),
        ("share_of_read", bytes_per_s / peaks.read_bytes_per_s),
        ("share_of_copy", bytes_per_s / roof.bytes_per_s),
        ("operations_per_s", ops_per_s),
    ];
    metrics.extend(peak.map(|peak| ("share_of_peak", ops_per_s / peak)));
    metrics.extend(device.map(|device| ("device_ns", device.as_nanos() as f64)));
    let (shape, variant) =
        (case.to_string(), format!("{} batch {} {} {}", tokens(case), case.batch, case.cache, case.path));
    bench.record(&Row { name: bench.name, shape, variant, times: &times, metrics })?;
    Ok(Ok(times.median()))
}
