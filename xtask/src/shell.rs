//! Other programs: finding them, running them, and reading what they print while it goes by.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Result;

/// The root of the repository, where every program starts. Cargo says where it is; a build of another checkout, which a shared
/// target folder may hold, would not know.
pub fn repo() -> PathBuf {
    let folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let xtask = Path::new(&folder);
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Where cargo builds: `target` of the repository, or wherever the environment says.
pub fn target_dir() -> PathBuf {
    repo().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// `cargo` with these arguments, the same cargo that started us.
pub fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(repo());
    command
}

/// Whether a program of this name is on the path.
pub fn has(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Whether we may do everything. The standard library cannot say, `id` can.
pub fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Runs a program to its end; anything but success is an error that shows the command.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", shown(command))) }
}

/// Runs a program that talks a lot and is of interest only when it fails: then its last lines are the error.
pub fn run_quietly(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail: String =
        lines[lines.len().saturating_sub(4)..].iter().map(|line| format!("\n  {line}")).collect();
    Err(format!("{}: {}{tail}", shown(command), output.status))
}

/// Runs a program and returns what it printed to its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        return Err(format!("{}: {}", shown(command), output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{}: {error}", shown(command)))
}

/// Runs a program, passes its standard output through and shows each line to `each` as it comes.
/// Returns whether the program succeeded.
pub fn stream(command: &mut Command, mut each: impl FnMut(&str)) -> Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| not_started(command, &error))?;
    let mut stdout = std::io::stdout();
    if let Some(pipe) = child.stdout.take() {
        for line in BufReader::new(pipe).split(b'\n') {
            let line = line.map_err(|error| format!("{}: {error}", shown(command)))?;
            let line = String::from_utf8_lossy(&line);
            // A closed output is no reason to stop testing.
            let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
            each(&line);
        }
    }
    let status = child.wait().map_err(|error| format!("{}: {error}", shown(command)))?;
    if !status.success() {
        eprintln!("{}: {status}", shown(command));
    }
    Ok(status.success())
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    format!("{} did not start: {error}", shown(command))
}

/// A command as a person would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
