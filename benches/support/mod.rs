//! What benches share: arguments, the adapter, repeated timing, rows for people and for files.

pub mod arguments;
pub mod chain;
#[path = "../../xtask/src/date.rs"]
mod date;
pub mod products;
pub mod roof;
pub mod table;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};
use wattle::{Gpu, GpuOptions};

/// A bench ends in success or in one message for a person.
pub type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Rows predicted to take longer are skipped unless all are asked for.
pub const LONGEST: Duration = Duration::from_secs(10);

/// The exit status of a bench.
pub fn exit(result: Result<()>) -> ExitCode {
    result.map_or_else(
        |error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// A bench on an adapter.
pub struct Bench {
    /// The device.
    pub gpu: Gpu,
    /// Its name, as cargo knows it.
    pub name: &'static str,
    date: String,
    rows: Option<File>,
}

/// One measurement: what it is, how long it took, and more numbers with the unit at the end of their names.
pub struct Row<'a> {
    pub name: &'a str,
    pub shape: String,
    pub variant: String,
    pub times: &'a Times,
    pub metrics: Vec<(&'static str, f64)>,
}

impl Bench {
    /// Opens the adapter, says what is measured on what, and opens the file that `WATTLE_BENCH_JSON` names.
    pub fn open(name: &'static str) -> Result<Self> {
        let gpu = Gpu::open_blocking(GpuOptions { cooperative_matrices: true, ..GpuOptions::default() })?;
        let date = date::utc(SystemTime::now());
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        let rows = std::env::var_os("WATTLE_BENCH_JSON").map(open).transpose()?;
        let bench = Self { gpu, name, date, rows };
        println!("{name} on {}", bench.measured_on());
        Ok(bench)
    }

    /// The adapter, its driver and the date.
    pub fn measured_on(&self) -> String {
        let info = self.gpu.info();
        format!("{}, {} {}, {}, {}", info.name, info.driver, info.driver_info, info.backend, self.date)
    }

    /// Appends a row to the file, if there is one.
    pub fn record(&mut self, row: &Row<'_>) -> Result<()> {
        let Some(file) = &mut self.rows else { return Ok(()) };
        let info = self.gpu.info();
        let mut line = json!({
            "bench": self.name, "name": row.name, "shape": row.shape, "variant": row.variant,
            "adapter": info.name, "driver": format!("{} {}", info.driver, info.driver_info),
            "backend": info.backend.to_string(), "date": self.date,
            "median_ns": row.times.median().as_nanos() as u64, "min_ns": row.times.least().as_nanos() as u64,
            "max_ns": row.times.most().as_nanos() as u64, "runs": row.times.0.len(),
        });
        let metrics = row.metrics.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
        if let Value::Object(fields) = &mut line {
            fields.extend(metrics.collect::<Map<_, _>>());
        }
        Ok(writeln!(file, "{line}")?)
    }
}

/// Prints what was skipped, and why.
pub fn print_skipped(rows: &[String]) {
    if !rows.is_empty() {
        println!("\nskipped:\n{}", rows.join("\n"));
    }
}

/// Runs once for nothing, then at least three times, then up to ten times within a second.
pub fn repeat<T>(mut run: impl FnMut() -> Result<T>) -> Result<Vec<T>> {
    run()?;
    let begin = Instant::now();
    let mut runs = Vec::new();
    while runs.len() < 3 || (runs.len() < 10 && begin.elapsed() < Duration::from_secs(1)) {
        runs.push(run()?);
    }
    Ok(runs)
}

/// Runs that [`repeat`] makes of something slow, the one for nothing included.
pub const SLOW_RUNS: u32 = 4;

/// Times of the same thing, shortest first.
pub struct Times(Vec<Duration>);

impl Times {
    /// From runs, of which there is at least one.
    pub fn new(runs: impl IntoIterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = runs.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }

    pub fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    pub fn least(&self) -> Duration {
        self.0[0]
    }

    pub fn most(&self) -> Duration {
        self.0[self.0.len() - 1]
    }

    /// Longest less shortest, as a share of the median.
    pub fn spread(&self) -> f64 {
        (self.most() - self.least()).as_secs_f64() / self.median().as_secs_f64()
    }
}

/// A time in microseconds.
pub fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
