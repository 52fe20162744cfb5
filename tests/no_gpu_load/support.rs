//! Safetensors files built by hand, so that they can be wrong, and places to put them.

use std::fs;
use std::path::{Path, PathBuf};

use wattle::Error;

/// A file from the text of its header and its data.
pub fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// A sound file of tensors: name, type as safetensors spells it, shape, bytes.
pub fn safetensors(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut header = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        let info = format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":{offsets:?}}}"#);
        header.push(info);
        data.extend_from_slice(bytes);
    }
    file(&format!("{{{}}}", header.join(",")), &data)
}

/// Little-endian bytes of f32 values.
pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Little-endian bytes of 16-bit patterns.
pub fn u16_bytes(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The error's text, which must have every one of the words.
#[track_caller]
pub fn assert_says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "'{text}' does not say '{word}' ({error:?})");
    }
}

/// The directory of the golden models; a test that needs them fails without them.
pub fn golden_dir() -> PathBuf {
    let dir = match std::env::var_os("WATTLE_GOLDEN") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
    };
    assert!(dir.is_dir(), "no golden data: {} is not a directory; set WATTLE_GOLDEN", dir.display());
    dir
}

/// A directory of its own for one test, removed afterwards.
pub struct TempDir(PathBuf);

impl TempDir {
    /// `name` must be unique among the tests.
    pub fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for (file, bytes) in files {
            fs::write(dir.join(file), bytes).unwrap();
        }
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A directory left behind in the build folder does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
