//! Builds and starts the peers.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use wattle::wgpu::{AdapterInfo, DeviceType};

use crate::peer::Peer;
use crate::support::Result;

/// burn tries everything it has, and does not trust what an earlier run has found.
const TUNING: &str = "[autotune]\nlevel = \"full\"\ndisable_cache = true\n\n\
                      [autotune.decisions]\nfile = \"decisions.jsonl\"\n";

/// Where programs and numbers go.
fn target() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Makes an empty folder for a peer to work in.
fn folder(name: &str) -> Result<PathBuf> {
    let folder = target().join("peers").join(name);
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&folder)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(folder)
}

/// burn, as WGSL or as SPIR-V. Built apart: together, cargo would give both the features of both.
pub fn burn(name: &'static str, adapter: &AdapterInfo, patience: Duration) -> Result<Peer> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--package", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !build.status()?.success() {
        return Err(format!("{name} does not build").into());
    }
    let folder = folder(name)?;
    fs::write(folder.join("cubecl.toml"), TUNING)?;
    let mut command = Command::new(target().join("release").join(name));
    command.arg(format!("{:?}", adapter.device_type));
    same_adapter(Peer::start(name, command, folder, patience)?, adapter)
}

/// llama.cpp, if `llama/build.sh` has built it.
pub fn llama(adapter: &AdapterInfo, patience: Duration) -> Result<Peer> {
    let program = target().join("llama").join("llama-peer");
    if !program.is_file() {
        return Err(format!("{} is missing; llama/build.sh makes it", program.display()).into());
    }
    let mut command = Command::new(program);
    // It passes over software drivers unless told which device to take.
    if adapter.device_type == DeviceType::Cpu && env::var_os("GGML_VK_VISIBLE_DEVICES").is_none() {
        command.env("GGML_VK_VISIBLE_DEVICES", "0");
    }
    command.env("GGML_NO_BACKTRACE", "1");
    same_adapter(Peer::start("llama.cpp", command, folder("llama")?, patience)?, adapter)
}

fn same_adapter(peer: Peer, adapter: &AdapterInfo) -> Result<Peer> {
    println!("{} on {}, {}", peer.name, peer.adapter, peer.capabilities);
    match peer.adapter == adapter.name {
        true => Ok(peer),
        false => Err(format!("{} is on another adapter than Wattle, {}", peer.name, adapter.name).into()),
    }
}
