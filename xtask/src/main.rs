//! `cargo xtask`: sets up a machine, shows the crate at work, tests it and measures it.

mod apt;
mod bench;
mod compare;
mod date;
mod driver;
mod gpu;
mod listing;
mod packages;
mod root;
mod shell;
mod tally;
mod test;
mod variants;
mod wasm;

use std::process::ExitCode;

/// Every task ends in success or in one message for a person; nobody matches on the kind.
type Result<T> = std::result::Result<T, String>;

const USAGE: &str = "\
usage: cargo xtask <task>

  demo [ARGS...]          set up a Vulkan driver if there is none, then run the demo with ARGS
  test [OPTIONS]          set up, then check and test everything
      --all               the full matrix of the tests, not a covering selection
      --no-newest         leave out the Debian root with the newest Mesa
      --golden DIR        golden data to test against instead of tests/golden
  bench [--all] [NAMES]   run the benches, write target/bench-<date>.json
      --all               also the rows predicted to take long
  bench --compare A B     compare two result files
  wasm                    check that the library compiles for a browser";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run(&arguments).unwrap_or_else(|message| {
        eprintln!("xtask: {message}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    let Some((task, rest)) = arguments.split_first() else { return Err(format!("no task\n{USAGE}")) };
    match task.as_str() {
        "demo" => demo(rest)?,
        // The summary of the tests has said everything, and its last line is to be the last.
        "test" if !test::run(test::Options::parse(rest)?.or_environment()) => return Ok(ExitCode::FAILURE),
        "test" => {}
        "bench" => bench::run(&bench::Options::parse(rest)?)?,
        "wasm" => wasm::run()?,
        "help" | "--help" | "-h" => println!("{USAGE}"),
        other => return Err(format!("unknown task '{other}'\n{USAGE}")),
    }
    Ok(ExitCode::SUCCESS)
}

fn demo(arguments: &[String]) -> Result<()> {
    driver::ensure()?;
    // `cargo xtask demo -- --x` and `cargo xtask demo --x` mean the same.
    let arguments = arguments.strip_prefix(&["--".to_string()]).unwrap_or(arguments);
    let mut demo = shell::cargo(["run", "--release", "--example", "demo", "--"]);
    shell::run(driver::without_desktop(&mut demo).args(arguments))
}
