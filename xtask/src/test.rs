//! `cargo xtask test`: every check and every test, on the driver that is installed and on others.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    Result,
    driver::{self, Found},
    gpu::{self, NOT_AT_OTHER_WIDTHS, OTHER_WIDTHS, Place, Width},
    listing::Listing,
    shell,
    tally::{Outcome, Tally},
    variants::{self, Coverage},
    wasm,
};

/// The environment variable with the folder of golden data.
const GOLDEN_VARIABLE: &str = "WATTLE_GOLDEN";

/// What to test.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Options {
    /// The full matrix, not a covering selection.
    all: bool,
    /// Leave out the Debian root with the newest Mesa.
    no_newest: bool,
    /// Golden data instead of `tests/golden`.
    golden: Option<PathBuf>,
}

impl Options {
    /// Reads the command line.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--all" => options.all = true,
                "--no-newest" => options.no_newest = true,
                "--golden" => {
                    let folder = arguments.next().ok_or("--golden needs a folder")?;
                    options.golden =
                        Some(fs::canonicalize(folder).map_err(|error| format!("{folder}: {error}"))?);
                }
                other => {
                    return Err(format!("test: unknown option '{other}' (--all, --no-newest, --golden DIR)"));
                }
            }
        }
        Ok(options)
    }

    /// The golden data that the environment names, where the command line names none.
    pub fn or_environment(mut self) -> Self {
        self.golden = self.golden.or_else(|| fs::canonicalize(env::var_os(GOLDEN_VARIABLE)?).ok());
        self
    }
}

/// Does everything and prints the summary, whose last line is `N passed, N failed`. Returns whether all is well.
pub fn run(options: Options) -> bool {
    let folder = shell::target_dir().join("variants");
    let mut run = Run { options, folder, tally: Tally::default(), coverage: Coverage::default() };
    run.driver();
    run.checks();
    run.installed();
    run.other_drivers();
    println!("\n{}\n\n{}", run.coverage.report(), run.tally.summary());
    run.tally.total().failed == 0
}

struct Run {
    options: Options,
    /// Where the tests note the variants they executed, a folder per configuration.
    folder: PathBuf,
    tally: Tally,
    coverage: Coverage,
}

impl Run {
    /// Something to run on. Without it the tests that need no GPU still have something to say.
    fn driver(&mut self) {
        if let Err(error) = driver::ensure() {
            eprintln!("{error}");
            self.tally.add("Vulkan driver", Outcome::Failed, Listing::default(), Duration::ZERO);
        }
    }

    /// What needs no GPU and no test.
    fn checks(&mut self) {
        // rustup leaves a stand-in on the path for what is not installed, so ask the tool itself.
        let missing = |task: &str, component: &str| {
            let absent = shell::run_quietly(&mut shell::cargo([task, "--version"])).is_err();
            absent.then(|| format!("{component} is not installed (rustup component add {component})"))
        };
        self.check("fmt", missing("fmt", "rustfmt"), shell::cargo(["fmt", "--all", "--check"]));
        let clippy = shell::cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
        self.check("clippy", missing("clippy", "clippy"), clippy);
        // What a host gets that wants kernels and nothing else.
        let lean = shell::cargo(["clippy", "--lib", "--no-default-features", "--", "-D", "warnings"]);
        self.check("clippy, no features", missing("clippy", "clippy"), lean);
        let mut doc = shell::cargo(["doc", "--no-deps"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        self.check("doc", None, doc);
        self.check("wasm32", wasm::why_not(), wasm::check());
    }

    fn check(&mut self, name: &str, why_not: Option<String>, command: Command) {
        match why_not {
            Some(why) => self.skip(name, why),
            None => self.step(name, command),
        }
    }

    /// Every test of the workspace, doc tests included, on the driver that is installed.
    fn installed(&mut self) {
        let mut tests = shell::cargo(["test", "--workspace", "--no-fail-fast"]);
        self.set_up(&mut tests);
        let folder = self.folder.join("installed");
        self.noting(&mut tests, "installed driver", &folder, folder.clone());
        self.step("all tests, installed driver", tests);
    }

    /// The GPU tests again where the software driver can be made to look like another GPU.
    fn other_drivers(&mut self) {
        let program = match gpu::program() {
            Ok(program) => program,
            Err(why) => return self.skip("GPU tests, other drivers", why),
        };
        let newest = match self.options.no_newest {
            true => Err("left out by --no-newest".into()),
            false => Place::newest(&program, self.options.golden.as_deref()),
        };
        match &newest {
            Ok(place) => self.on(place, None),
            Err(why) => self.skip("GPU tests, newest Mesa", why.clone()),
        }
        let installed = Found::here().lavapipe().map(|lavapipe| Place::installed(&program, lavapipe));
        // The newest driver shows the kernels more features, so a second round on the older one adds little.
        let places = match (newest, installed) {
            (Ok(newest), Some(installed)) if self.options.all => vec![newest, installed],
            (Ok(newest), _) => vec![newest],
            (Err(_), Some(installed)) => vec![installed],
            (Err(_), None) => {
                let why = "Mesa's software driver is not installed";
                return self.skip("GPU tests, other vector widths", why.into());
            }
        };
        for (place, width) in places.iter().flat_map(|place| OTHER_WIDTHS.map(|width| (place, width))) {
            self.on(place, Some(width));
        }
    }

    /// Runs the GPU tests in a place, with a vector width or the driver's own choice.
    fn on(&mut self, place: &Place, width: Option<Width>) {
        let (name, mut tests) = (place.configuration(width), place.command(width));
        if width.is_some() && !self.options.all {
            tests.args(NOT_AT_OTHER_WIDTHS.iter().flat_map(|test| ["--skip", test]));
        }
        self.set_up(&mut tests);
        let seen = self.folder.join(name.replace([' ', ','], "-"));
        self.noting(&mut tests, &name, &seen, place.outside(&seen));
        self.step(&format!("GPU tests, {name}"), tests);
    }

    fn set_up(&self, tests: &mut Command) {
        driver::without_desktop(tests);
        if self.options.all {
            tests.env("WATTLE_TEST_ALL", "1");
        }
        if let Some(golden) = &self.options.golden {
            tests.env(GOLDEN_VARIABLE, golden);
        }
    }

    /// Gives the tests a folder, `seen` by them and lying at `lies`, to note the variants in that they execute.
    fn noting(&mut self, tests: &mut Command, configuration: &str, seen: &Path, lies: PathBuf) {
        // What an earlier run left in a cached root must not count; without a folder the report will say so.
        let _ = fs::remove_dir_all(&lies);
        let _ = fs::create_dir_all(&lies);
        tests.env(variants::DIR_VARIABLE, seen);
        // Each configuration takes other variants than the ones before.
        tests.env(variants::SELECTION_VARIABLE, self.coverage.runs().to_string());
        self.coverage.add(configuration, lies);
    }

    fn step(&mut self, name: &str, mut command: Command) {
        println!("\n== {name}");
        let (start, mut listing) = (Instant::now(), Listing::default());
        let outcome = match shell::stream(&mut command, |line| listing.read(line)) {
            Ok(true) if listing.counts.failed == 0 => Outcome::Ok,
            Ok(_) => Outcome::Failed,
            Err(error) => {
                eprintln!("{error}");
                Outcome::Failed
            }
        };
        self.tally.add(name, outcome, listing, start.elapsed());
    }

    fn skip(&mut self, name: &str, why: String) {
        let why = why.lines().map(str::trim).collect::<Vec<_>>().join(" | ");
        println!("\n== {name}\nnot done: {why}");
        self.tally.add(name, Outcome::Skipped(why), Listing::default(), Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn options() {
        assert_eq!(parse("").unwrap(), Options::default());
        let all = Options { all: true, no_newest: true, golden: Some(fs::canonicalize(".").unwrap()) };
        assert_eq!(parse("--all --no-newest --golden .").unwrap(), all);
        assert!(parse("--golden").is_err());
        assert!(parse("--golden /no/such/folder").is_err());
        assert!(parse("--fast").unwrap_err().contains("--fast"));
    }
}
