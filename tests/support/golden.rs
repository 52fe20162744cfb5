//! Reading golden data: inputs and outputs that an independent implementation made.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// The directory of golden data: `WATTLE_GOLDEN`, else the part of it in this repository.
pub fn directory() -> PathBuf {
    match std::env::var_os("WATTLE_GOLDEN") {
        Some(directory) => directory.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
    }
}

/// One file of tensors.
pub struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Golden {
    /// Opens `name.safetensors`.
    pub fn open(name: &str) -> Self {
        let path = directory().join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, bytes }
    }

    /// Opens `ops/name.safetensors`.
    pub fn op(name: &str) -> Self {
        Self::open(&format!("ops/{name}"))
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        let tensors = SafeTensors::deserialize(&self.bytes);
        tensors.unwrap_or_else(|error| panic!("{}: {error}", self.path.display())).tensor(name).is_ok()
    }

    /// A tensor of floats, widened to f32.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        let (dtype, data) = self.tensor(name, |view| (view.dtype(), view.data().to_vec()));
        match dtype {
            Dtype::F32 => data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            Dtype::BF16 => {
                let widen = |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16);
                data.as_chunks().0.iter().map(|&bytes| widen(bytes)).collect()
            }
            other => panic!("{}, '{name}': expected floats, found {other:?}", self.path.display()),
        }
    }

    /// A tensor of integers.
    pub fn integers(&self, name: &str) -> Vec<i64> {
        let (dtype, data) = self.tensor(name, |view| (view.dtype(), view.data().to_vec()));
        match dtype {
            Dtype::U8 => data.iter().map(|&byte| byte.into()).collect(),
            Dtype::I32 => data.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
            other => panic!("{}, '{name}': expected integers, found {other:?}", self.path.display()),
        }
    }

    /// A tensor of indices, -1 becoming `u32::MAX`.
    pub fn indices(&self, name: &str) -> Vec<u32> {
        self.integers(name).into_iter().map(|i| i as u32).collect()
    }

    /// The only element of a tensor of floats.
    pub fn float(&self, name: &str) -> f32 {
        self.floats(name)[0]
    }

    /// The only element of a tensor of integers.
    pub fn integer(&self, name: &str) -> i64 {
        self.integers(name)[0]
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensor(name, |view| view.shape().to_vec())
    }

    fn tensor<T>(&self, name: &str, read: impl FnOnce(TensorView) -> T) -> T {
        let at = || format!("{}, '{name}'", self.path.display());
        let file = SafeTensors::deserialize(&self.bytes).unwrap_or_else(|error| panic!("{}: {error}", at()));
        read(file.tensor(name).unwrap_or_else(|error| panic!("{}: {error}", at())))
    }
}
