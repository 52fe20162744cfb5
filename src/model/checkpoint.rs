//! Checkpoints: named tensors in safetensors files, one file or many.
//!
//! Every header is read and validated when the checkpoint is opened; tensor bytes are read when asked for.

mod header;
mod memory;
mod reader;
mod tensor;

use std::collections::BTreeMap;
use std::fmt;
#[cfg(feature = "files")]
use std::path::Path;

use self::header::Entry;
pub(crate) use self::memory::FilesInMemory;
pub use self::reader::FileReader;
pub(crate) use self::reader::read_whole;
pub use self::tensor::{StoredType, TensorData};
use crate::model::config::ModelConfig;
use crate::model::naming::{Naming, Stored};
use crate::model::slot;
use crate::{Error, Result};

/// Named tensors in one `model.safetensors`, or in the files that `model.safetensors.index.json` names.
pub struct Checkpoint {
    reader: Box<dyn FileReader>,
    tensors: BTreeMap<String, Entry>,
}

impl Checkpoint {
    /// Opens the safetensors files of a directory, memory-mapped.
    ///
    /// Nobody may change the files while the checkpoint is open: whether old or new bytes are then read is
    /// up to the system, and a file that is cut short ends the process.
    ///
    /// # Errors
    /// [`Error::Io`] if a file is missing or cannot be read, [`Error::Format`] if one is damaged.
    #[cfg(feature = "files")]
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::from_reader(FilesInMemory::map(dir.as_ref())?)
    }

    /// A checkpoint from files in memory, by name.
    ///
    /// # Errors
    /// As [`Checkpoint::from_reader`].
    pub fn from_bytes(files: Vec<(String, Vec<u8>)>) -> Result<Self> {
        Self::from_reader(FilesInMemory::new(files))
    }

    /// A checkpoint from files that are read in parts, one tensor at a time.
    ///
    /// # Errors
    /// [`Error::Io`] if a file is missing or cannot be read, [`Error::Format`] if one is damaged.
    pub fn from_reader(reader: impl FileReader + 'static) -> Result<Self> {
        let tensors = header::read_all(&reader)?;
        Ok(Self { reader: Box::new(reader), tensors })
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The dimensions of a tensor, innermost last.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Bytes that a tensor takes in its file.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn tensor_bytes(&self, name: &str) -> Result<u64> {
        self.entry(name).map(Entry::size_bytes)
    }

    /// Reads a tensor that must have the shape given.
    ///
    /// # Errors
    /// [`Error::MissingTensor`]; [`Error::TensorMismatch`] for another shape, or for elements that are not
    /// f32, f16 or bf16; [`Error::Io`] if the file cannot be read.
    pub fn tensor(&self, name: &str, expected_shape: &[usize]) -> Result<TensorData<'_>> {
        self.stored(Stored::whole(name.to_owned(), expected_shape))
    }

    /// Reads what a slot needs of the tensor that holds it.
    ///
    /// # Errors
    /// Those of [`Checkpoint::tensor`].
    pub(crate) fn stored(&self, stored: Stored) -> Result<TensorData<'_>> {
        let entry = self.entry(&stored.name)?;
        let dtype = entry.stored_type(&stored.name, &stored.shape)?;
        let size = dtype.size_bytes() as u64;
        let start = entry.range.start + stored.first * size;
        let end = match stored.len() {
            0 => start,
            elements => entry.range.start + (stored.index(elements - 1) + 1) * size,
        };
        let bytes = reader::read(&*self.reader, &entry.file, start..end)?;
        Ok(TensorData { stored, dtype, bytes })
    }

    /// Checks that every tensor a model needs is here with the right shape and type; more may be here.
    /// Returns the bytes that those tensors take in their files, all together.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] or [`Error::TensorMismatch`] with the first that will not do.
    pub fn check(&self, config: &ModelConfig, naming: Naming) -> Result<u64> {
        let mut total_bytes = 0;
        for (slot, shape) in slot::slots(config) {
            let stored = naming.locate(slot, &shape);
            let dtype = self.entry(&stored.name)?.stored_type(&stored.name, &stored.shape)?;
            total_bytes += (stored.len() * dtype.size_bytes()) as u64;
        }
        Ok(total_bytes)
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.tensors.get(name).ok_or_else(|| Error::MissingTensor { name: name.to_owned() })
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("tensor_count", &self.tensors.len()).finish_non_exhaustive()
    }
}
