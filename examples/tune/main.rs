//! Measures every kernel that may compute a product on the adapter at hand, writes the table of the fastest, and says how
//! far the table that the crate ships is from them.
//!
//! `cargo run --release --example tune -- --out FILE`. A session takes the file as `SessionOptions::tuning`.

mod candidates;
#[expect(dead_code, reason = "benches use the rest")]
#[path = "../../benches/support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use candidates::{FORMATS, ROWS, Shape, matrices};
use support::arguments::Arguments;
use support::products::{Products, check, tuned};
use support::{Bench, Result, Times, repeat};
use wattle::Gpu;
use wattle::fragments::InputRows;
use wattle::kernels::matvec::VecTile;
use wattle::quant::WeightFormat;
use wattle::tuning::{AdapterKind, ProductKernel, ProductPath, Rule, Tuning, TuningFile};

/// A kernel that takes so many times as long as the best so far is timed once.
const FAR_BEHIND: f64 = 1.5;

/// Seconds that each kernel took for each product of a rule.
struct Measured {
    /// The products, for people.
    of: Vec<String>,
    kernels: Vec<ProductKernel>,
    /// By product, then by kernel.
    seconds: Vec<Vec<f64>>,
    /// By product: the kernel of the shipped table.
    shipped: Vec<usize>,
}

/// How near kernels are to the best, 1 for the best itself, each with its product.
struct Nearness {
    all: Vec<(f64, String)>,
}

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    let out = arguments.value("--out")?;
    arguments.finish("--out FILE")?;
    let out = out.ok_or("usage: tune --out FILE")?;
    let bench = Bench::open("tune")?;
    let gpu = &bench.gpu;
    let (mut shipped, mut written) = (Nearness { all: Vec::new() }, Nearness { all: Vec::new() });
    let mut rules = Vec::new();
    let paths = [(ProductPath::Matrix, &FORMATS[..]), (ProductPath::Integer, &FORMATS[..3])];
    for ((path, formats), rows) in paths.into_iter().flat_map(|path| ROWS.map(|rows| (path, rows))) {
        for (format, max_bits) in formats.iter().copied() {
            let measured = measure(gpu, rows, format.parse()?, path)?;
            let best = measured.best_of_all();
            let near = shipped.add(&measured, |product| measured.shipped[product]);
            written.add(&measured, |_| best);
            println!("{rows:>4} rows, {format:<4}  shipped {near:>3.0}%  {}", name(measured.kernels[best]));
            let (most_rows, most_bits) = (ROWS[ROWS.len() - 1], formats[formats.len() - 1].1);
            rules.push(Rule {
                max_rows: (rows < most_rows).then_some(rows),
                max_inputs: None,
                max_bits: (max_bits < most_bits).then_some(max_bits),
                kernel: measured.kernels[best],
            });
        }
    }
    // Rules for inputs that are codes fit only those who ask for them, and so come before the others.
    rules.sort_by_key(|rule: &Rule| rule.kernel.inputs(4) != InputRows::I8);
    let adapter = if gpu.capabilities().is_cpu { AdapterKind::Cpu } else { AdapterKind::Gpu };
    let file = TuningFile { schema: 1, tables: vec![Tuning { adapter, rules }] };
    fs::write(&out, serde_json::to_string_pretty(&file)? + "\n")?;
    println!("\nspeed as a share of the fastest kernel's, over {} products", shipped.all.len());
    println!("shipped table: {shipped}");
    println!("{out}: {written}");
    Ok(())
}

fn measure(gpu: &Gpu, rows: u32, format: WeightFormat, path: ProductPath) -> Result<Measured> {
    let shapes: Vec<Shape> = matrices(gpu).map(|[outputs, inputs]| [rows, outputs, inputs]).to_vec();
    let tuned: Vec<_> = shapes.iter().map(|shape| tuned(gpu, format, *shape, path)).collect();
    // The shipped ones first: what is far behind them is soon done with.
    let mut kernels = tuned.clone();
    kernels.extend(candidates::kernels(gpu, rows, format, path));
    let mut seen = HashSet::new();
    kernels.retain(|kernel| seen.insert(*kernel));
    for kernel in &kernels {
        check(gpu, *kernel, format)?;
    }
    let shipped: Vec<usize> =
        tuned.iter().map(|kernel| kernels.iter().position(|other| other == kernel).unwrap_or(0)).collect();
    let mut seconds = Vec::new();
    for (shape, shipped) in shapes.iter().zip(&shipped) {
        let mut best = f64::INFINITY;
        let mut times = Vec::new();
        for kernel in &kernels {
            let time = time(gpu, *kernel, format, *shape, FAR_BEHIND * best)?;
            best = best.min(time);
            times.push(time);
        }
        // Something else may have run on the machine: what the figures rest on is timed twice, and the better one counts.
        let fastest = (0..times.len()).min_by(|a, b| times[*a].total_cmp(&times[*b])).unwrap_or(0);
        for kernel in [*shipped, fastest] {
            let again = time(gpu, kernels[kernel], format, *shape, f64::INFINITY)?;
            times[kernel] = times[kernel].min(again);
        }
        seconds.push(times);
    }
    let name = |[rows, outputs, inputs]: Shape| format!("{rows} x {outputs} x {inputs} {format}, {path}");
    let of = shapes.into_iter().map(name).collect();
    Ok(Measured { of, kernels, seconds, shipped })
}

/// Seconds of a product: a median, unless one run shows that it is above `limit`.
fn time(gpu: &Gpu, kernel: ProductKernel, format: WeightFormat, shape: Shape, limit: f64) -> Result<f64> {
    let mut products = Products::new(gpu, kernel, format, shape, (1, 1))?;
    let mut run = || -> Result<Duration> { Ok(products.chain.run(1)?.wall) };
    run()?;
    let once = run()?.as_secs_f64();
    let worth_it = once <= limit;
    if worth_it { Ok(Times::new(repeat(&mut run)?).median().as_secs_f64()) } else { Ok(once) }
}

impl Measured {
    /// The kernel that is nearest to the fastest of every product, in the geometric mean.
    fn best_of_all(&self) -> usize {
        let slowness = |kernel: &usize| -> f64 { self.seconds.iter().map(|times| times[*kernel].ln()).sum() };
        let all = 0..self.kernels.len();
        all.min_by(|a, b| slowness(a).total_cmp(&slowness(b))).unwrap_or(0)
    }
}

impl Nearness {
    /// Adds the products of a rule, and says how near they are in the mean, in percent.
    fn add(&mut self, measured: &Measured, kernel: impl Fn(usize) -> usize) -> f64 {
        let near = |(product, times): (usize, &Vec<f64>)| {
            times.iter().copied().fold(f64::INFINITY, f64::min) / times[kernel(product)]
        };
        let of = measured.of.iter().zip(measured.seconds.iter().enumerate());
        let rule = Self { all: of.map(|(of, times)| (near(times), of.clone())).collect() };
        let mean = rule.mean();
        self.all.extend(rule.all);
        mean
    }

    fn mean(&self) -> f64 {
        100.0 * self.all.iter().map(|(near, _)| near).sum::<f64>() / self.all.len() as f64
    }
}

/// `mean 93%, worst 70% (16 x 1024 x 1024 int8)`.
impl fmt::Display for Nearness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mean {:.0}%", self.mean())?;
        match self.all.iter().min_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((near, of)) => write!(f, ", worst {:.0}% ({of})", 100.0 * near),
            None => Ok(()),
        }
    }
}

fn name(kernel: ProductKernel) -> String {
    let tiled = |name: &str, tile: VecTile| {
        let VecTile { lanes, team, outputs, rows } = tile;
        format!("{name}: {lanes} lanes, teams of {team}, {outputs} outputs, {rows} rows")
    };
    match kernel {
        ProductKernel::Matvec(tile) => tiled("matvec", tile),
        ProductKernel::MatvecI8(tile) => tiled("matvec of codes", tile),
        ProductKernel::Matmul {} => "matmul".into(),
        ProductKernel::MatmulI8 {} => "matmul of codes".into(),
        ProductKernel::MatmulCoop {} => "matmul_coop".into(),
    }
}
