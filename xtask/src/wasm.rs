//! Whether the library compiles for a browser, where nothing may block and no file can be mapped.

use std::{path::Path, process::Command};

use crate::{Result, shell};

const TARGET: &str = "wasm32-unknown-unknown";

/// Why it cannot be checked on this machine.
pub fn why_not() -> Option<String> {
    let folder = shell::output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]));
    let at_hand = folder.is_ok_and(|folder| Path::new(folder.trim()).is_dir());
    (!at_hand)
        .then(|| format!("the standard library for {TARGET} is not at hand (rustup target add {TARGET})"))
}

/// The check.
pub fn check() -> Command {
    shell::cargo([
        "check",
        "--lib",
        "--target",
        TARGET,
        "--no-default-features",
        "--features",
        "model,webgpu",
    ])
}

/// The task by itself.
pub fn run() -> Result<()> {
    match why_not() {
        Some(why) => {
            println!("wasm32 is not checked: {why}");
            Ok(())
        }
        None => shell::run(&mut check()),
    }
}
