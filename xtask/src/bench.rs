//! `cargo xtask bench`: runs the benches, gathers their rows in one result file, compares two such files.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use serde_json::{Value, json};

use crate::{Result, compare, date, driver, shell};

/// Version of the form of a result file; `benches/README.md` documents it.
pub const SCHEMA: u64 = 1;
/// The environment variable with the file that benches append their rows to.
const ROWS_VARIABLE: &str = "WATTLE_BENCH_JSON";

/// What to do.
pub enum Options {
    /// Run benches.
    Run {
        /// Also the rows predicted to take long.
        all: bool,
        /// Which benches; none means every one.
        names: Vec<String>,
    },
    /// Compare two result files.
    Compare(PathBuf, PathBuf),
}

impl Options {
    /// Reads the command line.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        if let [flag, before, after] = arguments
            && flag == "--compare"
        {
            return Ok(Self::Compare(before.into(), after.into()));
        }
        let (mut all, mut names) = (false, Vec::new());
        for argument in arguments {
            match argument.as_str() {
                "--all" => all = true,
                "--" => {}
                "--compare" => return Err("bench: --compare takes two result files and nothing else".into()),
                option if option.starts_with('-') => {
                    return Err(format!(
                        "bench: unknown option '{option}' (--all, --compare A B, names of benches)"
                    ));
                }
                name => names.push(name.into()),
            }
        }
        Ok(Self::Run { all, names })
    }
}

/// Runs or compares.
///
/// # Errors
/// When a bench fails, or a file cannot be read or written. What the benches before the failure measured is kept.
pub fn run(options: &Options) -> Result<()> {
    match options {
        Options::Compare(before, after) => {
            print!("{}", compare::report(&read(before)?, &read(after)?)?);
            Ok(())
        }
        Options::Run { all, names } => measure(*all, names),
    }
}

fn measure(all: bool, names: &[String]) -> Result<()> {
    driver::ensure()?;
    let benches = chosen(known_benches()?, names)?;
    let date = now();
    let rows_file = shell::target_dir().join(format!("bench-{date}.jsonl"));
    let outcomes = benches.iter().map(|name| {
        println!("\n== bench {name}");
        let mut bench = shell::cargo(["bench", "--bench", name]);
        if all {
            bench.args(["--", "--all"]);
        }
        shell::run(driver::without_desktop(&mut bench).env(ROWS_VARIABLE, &rows_file))
    });
    let failures: Vec<String> = outcomes.filter_map(Result::err).collect();
    let rows = rows(&fs::read_to_string(&rows_file).unwrap_or_default())?;
    let result_file = rows_file.with_extension("json");
    let text = format!("{:#}\n", result(&date, rows));
    fs::write(&result_file, text).map_err(|error| format!("{}: {error}", result_file.display()))?;
    // The rows are in the result file now; one left over would only be clutter.
    let _ = fs::remove_file(&rows_file);
    println!("\nresults: {}", result_file.display());
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// The benches of the workspace, from cargo.
fn known_benches() -> Result<Vec<String>> {
    let metadata = shell::output(&mut shell::cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    Ok(benches_in(&metadata))
}

fn benches_in(metadata: &Value) -> Vec<String> {
    let targets = list(&metadata["packages"]).iter().flat_map(|package| list(&package["targets"]));
    let benches = targets.filter(|target| list(&target["kind"]).iter().any(|kind| kind == "bench"));
    benches.filter_map(|target| target["name"].as_str().map(String::from)).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn chosen(known: Vec<String>, names: &[String]) -> Result<Vec<String>> {
    if known.is_empty() {
        return Err("there are no benches yet".into());
    }
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("there is no bench '{unknown}'; there are: {}", known.join(", ")));
    }
    Ok(if names.is_empty() { known } else { names.to_vec() })
}

/// The rows of a file of JSON lines.
fn rows(text: &str) -> Result<Vec<Value>> {
    let parse = |(index, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| format!("row {} of the benches: {error}: {line}", index + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

/// A result file: what was measured, on what, from which source.
fn result(date: &str, rows: Vec<Value>) -> Value {
    let first = |field: &str| rows.first().map_or(Value::Null, |row| row[field].clone());
    let (adapter, driver, backend) = (first("adapter"), first("driver"), first("backend"));
    json!({
        "schema": SCHEMA, "date": date, "revision": revision(),
        "adapter": adapter, "driver": driver, "backend": backend, "rows": rows,
    })
}

/// The commit, with `-dirty` where files were changed since; null outside a git checkout.
fn revision() -> Value {
    let mut git = Command::new("git");
    let git =
        git.args(["describe", "--always", "--dirty", "--abbrev=12"]).current_dir(shell::repo()).output();
    let git = git.ok().filter(|output| output.status.success());
    git.map_or(Value::Null, |output| String::from_utf8_lossy(&output.stdout).trim().into())
}

/// Now, as `2026-11-22T05-55-53Z`: sorts by time, and is a file name everywhere.
fn now() -> String {
    date::utc(SystemTime::now()).replace(':', "-")
}

fn read(path: &Path) -> Result<Value> {
    let path = env::current_dir().unwrap_or_default().join(path);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let result: Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    match result["schema"].as_u64() {
        Some(SCHEMA) => Ok(result),
        found => Err(format!("{}: expected schema {SCHEMA}, found {found:?}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn dates() {
        let at = |seconds| date::utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(at(1_795_326_953), "2026-11-22T05:55:53Z");
    }

    #[test]
    fn benches_of_the_workspace() {
        let metadata = json!({"packages": [
            {"targets": [{"name": "wattle", "kind": ["lib"]}, {"name": "forward", "kind": ["bench"]}]},
            {"targets": [{"name": "matmul", "kind": ["bench"]}]},
        ]});
        let known = benches_in(&metadata);
        assert_eq!(known, ["forward", "matmul"]);
        assert_eq!(chosen(known.clone(), &["matmul".into()]).unwrap(), ["matmul"]);
        assert!(chosen(known, &["mamtul".into()]).unwrap_err().contains("forward, matmul"));
    }

    #[test]
    fn a_result_says_on_what_it_was_measured() {
        let rows = rows("{\"adapter\":\"a\",\"driver\":\"d\"}\n\n{\"adapter\":\"a\"}\n").unwrap();
        let result = result("2026-11-22T05-55-53Z", rows);
        assert_eq!((&result["schema"], &result["adapter"]), (&json!(SCHEMA), &json!("a")));
        assert_eq!(result["rows"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_broken_row_is_named() {
        assert!(rows("{}\n{\"bench\":").unwrap_err().starts_with("row 2"));
    }
}
