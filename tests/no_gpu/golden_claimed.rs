//! Every golden file is read by some test, or is on the list of those that nothing reads yet.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::golden::directory;
use crate::{activation, attention, capacity, embed, matmul, moe, norm, quant, rope, routing, softmax};

/// Files of `ops/` that tests read.
const OPS: &[&[&str]] = &[
    activation::FILES,
    attention::FILES,
    attention::BIAS_FILES,
    attention::RING_FILES,
    capacity::FILES,
    embed::FILES,
    matmul::FILES,
    moe::FILES,
    norm::FILES,
    quant::FILES,
    rope::FILES,
    routing::FILES,
    softmax::FILES,
];

/// Files of `ops/` for kernels that do not exist.
const OPS_TO_COME: &[&str] = &[];

#[path = "../support/models.rs"]
mod models;
pub use models::MODELS;

/// Model directories that no test reads.
const MODELS_TO_COME: &[&str] = &[];

/// Names in a directory, each as what a list here would call it: files of tensors without their extension, and
/// directories. Descriptions of the data have no test.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let described = |name: &String| !matches!(name.as_str(), "README.md" | "golden.json" | "ops");
    names.filter(described).map(|name| name.trim_end_matches(".safetensors").to_owned()).collect()
}

fn set(lists: &[&[&str]]) -> BTreeSet<String> {
    lists.iter().flat_map(|list| list.iter().map(|&name| name.to_owned())).collect()
}

fn assert_claimed(
    what: &str,
    present: BTreeSet<String>,
    claimed: BTreeSet<String>,
    to_come: BTreeSet<String>,
) {
    let missing: Vec<_> = claimed.difference(&present).collect();
    assert!(missing.is_empty(), "{what}: tests read {missing:?}, which are not there");
    let both: Vec<_> = claimed.intersection(&to_come).collect();
    assert!(both.is_empty(), "{what}: tests read {both:?}, which are listed as not read");
    let unclaimed: Vec<_> =
        present.iter().filter(|n| !claimed.contains(*n) && !to_come.contains(*n)).collect();
    assert!(unclaimed.is_empty(), "{what}: no test reads {unclaimed:?}");
}

#[test]
fn every_operation_is_read() {
    assert_claimed("ops", names(&directory().join("ops")), set(OPS), set(&[OPS_TO_COME]));
}

#[test]
fn every_model_is_read() {
    assert_claimed("models", names(&directory()), set(&[MODELS]), set(&[MODELS_TO_COME]));
}
