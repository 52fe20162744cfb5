//! Damaged and incomplete files: each gives an error that says which file or tensor, and what is wrong.

use std::fs;

use wattle::Error;
use wattle::model::checkpoint::Checkpoint;
use wattle::model::{self};

use crate::support::{TempDir, assert_says, f32_bytes, file, safetensors};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn open(files: &[(&str, Vec<u8>)]) -> Error {
    let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
    Checkpoint::from_bytes(files).unwrap_err()
}

/// The error of a single file, which must be named.
#[track_caller]
fn assert_damaged(bytes: Vec<u8>, words: &[&str]) {
    let error = open(&[(SINGLE, bytes)]);
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    assert_says(&error, &[SINGLE]);
    assert_says(&error, words);
}

fn sound() -> Vec<u8> {
    safetensors(&[("a", "F32", &[2, 3], f32_bytes(&[0.0; 6]))])
}

#[test]
fn no_file() {
    let error = open(&[("other.safetensors", sound())]);
    assert!(matches!(&error, Error::Io { .. }), "{error:?}");
    assert_says(&error, &[SINGLE, INDEX]);
}

#[test]
fn no_directory() {
    let error = Checkpoint::open("does/not/exist").unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path == "does/not/exist"), "{error:?}");
}

#[test]
fn no_config() {
    let dir = TempDir::new("no_config", &[(SINGLE, &sound())]);
    let error = model::open(dir.path()).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }), "{error:?}");
    assert_says(&error, &[dir.path().join("config.json").to_str().unwrap()]);
}

#[test]
fn no_weights() {
    let dir = TempDir::new("no_weights", &[("config.json", br#"{"model_type": "llama"}"#)]);
    assert_says(
        &model::open(dir.path()).unwrap_err(),
        &[dir.path().join(SINGLE).to_str().unwrap(), "no such file"],
    );
}

#[test]
fn a_config_that_is_not_text() {
    let dir = TempDir::new("not_text", &[("config.json", &[0xff, 0xfe]), (SINGLE, &sound())]);
    assert_says(&model::open(dir.path()).unwrap_err(), &["config.json", "utf-8"]);
}

#[test]
fn cut_short_at_any_byte() {
    let whole = sound();
    for len in 0..whole.len() {
        let error = open(&[(SINGLE, whole[..len].to_vec())]);
        assert!(matches!(&error, Error::Format { file, .. } if file == SINGLE), "{len} bytes: {error:?}");
    }
    assert_damaged(Vec::new(), &["0 bytes"]);
    assert_damaged(whole[..whole.len() - 1].to_vec(), &["24 bytes", "23 follow"]);
}

#[test]
fn an_empty_file_in_a_directory() {
    let dir = TempDir::new("empty_file", &[(SINGLE, &[])]);
    assert_says(&Checkpoint::open(dir.path()).unwrap_err(), &[SINGLE, "0 bytes"]);
}

#[test]
fn longer_than_its_tensors() {
    let mut bytes = sound();
    bytes.push(0);
    assert_damaged(bytes, &["24 bytes", "25 follow"]);
}

#[test]
fn header_longer_than_the_file() {
    for length in [1000, u64::MAX] {
        let mut bytes = sound();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        assert_damaged(bytes, &[&length.to_string(), "does not fit"]);
    }
}

#[test]
fn header_that_is_not_json() {
    assert_damaged(file("{\"a\": ", &[]), &["header", "line 1"]);
    assert_damaged(file("pickle!!", &[]), &["header", "line 1"]);
    let mut not_utf8 = file("{\"aaaa\":1}", &[]);
    not_utf8[11] = 0xff;
    assert_damaged(not_utf8, &["header"]);
}

/// A file with one or two tensors, told by their type, shape and offsets.
fn with_offsets(tensors: &[(&str, &str)], data_bytes: usize) -> Vec<u8> {
    let info = |(name, info): &(&str, &str)| format!("\"{name}\":{info}");
    let header: Vec<_> = tensors.iter().map(info).collect();
    file(&format!("{{{}}}", header.join(",")), &vec![0; data_bytes])
}

#[test]
fn offsets_that_cannot_be() {
    let a = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let overlap = r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#;
    assert_damaged(with_offsets(&[("a", a), ("b", overlap)], 12), &["invalid offset", "b"]);
    let gap = r#"{"dtype":"F32","shape":[1],"data_offsets":[12,16]}"#;
    assert_damaged(with_offsets(&[("a", a), ("b", gap)], 16), &["invalid offset", "b"]);
    let backwards = r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#;
    assert_damaged(with_offsets(&[("a", backwards)], 8), &["invalid offset", "a"]);
    let negative = r#"{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}"#;
    assert_damaged(with_offsets(&[("a", negative)], 8), &["header"]);
    let leaves = r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#;
    assert_damaged(with_offsets(&[("a", leaves)], 8), &["16 bytes", "8 follow"]);
}

#[test]
fn offsets_that_disagree_with_shape_or_type() {
    let shape = r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#;
    assert_damaged(with_offsets(&[("a", shape)], 8), &["shape"]);
    let dtype = r#"{"dtype":"F16","shape":[2],"data_offsets":[0,8]}"#;
    assert_damaged(with_offsets(&[("a", dtype)], 8), &["shape"]);
    let huge = r#"{"dtype":"F32","shape":[18446744073709551615,3],"data_offsets":[0,8]}"#;
    assert_damaged(with_offsets(&[("a", huge)], 8), &["overflow"]);
    let unknown = r#"{"dtype":"F33","shape":[2],"data_offsets":[0,8]}"#;
    assert_damaged(with_offsets(&[("a", unknown)], 8), &["F33"]);
}

#[test]
fn tensors_that_are_not_as_needed() {
    let tensors = [("a", "F32", [2, 3].as_slice(), f32_bytes(&[0.0; 6])), ("ids", "I64", &[1], vec![0; 8])];
    let checkpoint = Checkpoint::from_bytes(vec![(SINGLE.to_owned(), safetensors(&tensors))]).unwrap();
    let missing = checkpoint.tensor("layers.7.w", &[2]).unwrap_err();
    assert!(matches!(&missing, Error::MissingTensor { name } if name == "layers.7.w"), "{missing:?}");
    assert!(matches!(checkpoint.tensor_bytes("layers.7.w"), Err(Error::MissingTensor { .. })));
    // The same number of elements, one dimension more, one less.
    for shape in [[3, 2].as_slice(), &[2, 3, 1], &[6]] {
        let error = checkpoint.tensor("a", shape).unwrap_err();
        assert!(matches!(error, Error::TensorMismatch { .. }), "{error:?}");
        assert_says(&error, &["'a'", &format!("{shape:?}"), "[2, 3]"]);
    }
    let error = checkpoint.tensor("ids", &[1]).unwrap_err();
    assert!(matches!(error, Error::TensorMismatch { .. }), "{error:?}");
    assert_says(&error, &["'ids'", "F32, F16 or BF16", "I64"]);
}

/// The error of an index with one sound shard that holds `a`.
fn open_index(index: &str) -> Error {
    open(&[(INDEX, index.as_bytes().to_vec()), ("one.safetensors", sound())])
}

#[test]
fn an_index_that_does_not_fit_its_files() {
    let missing_shard = open_index(r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#);
    assert_says(&missing_shard, &[INDEX, "'two.safetensors'", "missing"]);
    let missing_tensor = open_index(r#"{"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}}"#);
    assert_says(&missing_tensor, &[INDEX, "'b' is not in 'one.safetensors'"]);
    for (index, word) in [("{}", "weight_map"), ("[]", "expected"), (r#"{"weight_map": {"a": 1}}"#, "string")]
    {
        let error = open_index(index);
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        assert_says(&error, &[INDEX, word]);
    }
}

#[test]
fn an_index_that_leaves_its_directory() {
    for path in ["../one.safetensors", "/etc/one.safetensors", r"..\\one.safetensors"] {
        let error = open_index(&format!(r#"{{"weight_map": {{"a": "{path}"}}}}"#));
        assert_says(&error, &[INDEX, "not a plain file name"]);
    }
}

#[test]
fn a_damaged_shard_is_named() {
    let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
    let files = [(INDEX, index.as_bytes()), ("one.safetensors", &sound()), ("two.safetensors", b"short")];
    let dir = TempDir::new("damaged_shard", &files);
    assert_says(&Checkpoint::open(dir.path()).unwrap_err(), &["two.safetensors", "5 bytes"]);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_a_missing_file() {
    let dir = TempDir::new("dead_link", &[]);
    std::os::unix::fs::symlink("gone", dir.path().join(SINGLE)).unwrap();
    assert!(fs::symlink_metadata(dir.path().join(SINGLE)).is_ok());
    assert_says(&Checkpoint::open(dir.path()).unwrap_err(), &[SINGLE, "no such file"]);
}
