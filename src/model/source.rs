//! A model as it lies in files: what it is, and where its tensors are.

#[cfg(feature = "files")]
use std::path::Path;

use crate::model::checkpoint::{Checkpoint, FileReader, read_whole};
use crate::model::config::ModelConfig;
use crate::model::family;
use crate::model::naming::Naming;
use crate::model::slot::Slot;
use crate::{Error, Result};

/// A model description with the checkpoint that fills it; every tensor it needs is known to be there.
#[derive(Debug)]
pub struct Source {
    /// The model.
    pub config: ModelConfig,
    /// How the checkpoint calls the model's tensors.
    pub naming: Naming,
    /// The tensors.
    pub checkpoint: Checkpoint,
}

/// Opens a directory with a `config.json`, Hugging Face's or native, and its safetensors files.
///
/// # Errors
/// [`Error::Io`] and [`Error::Format`] for files that are missing or damaged, [`Error::Config`],
/// [`Error::UnknownModel`] and [`Error::Unsupported`] for the description, [`Error::MissingTensor`] and
/// [`Error::TensorMismatch`] where the two do not fit together.
#[cfg(feature = "files")]
pub fn open(dir: impl AsRef<Path>) -> Result<Source> {
    Source::from_reader(super::checkpoint::FilesInMemory::map(dir.as_ref())?)
}

impl Source {
    /// The same as [`open`](crate::model::open), from wherever `reader` has its files.
    ///
    /// # Errors
    /// As [`open`](crate::model::open).
    pub fn from_reader(reader: impl FileReader + 'static) -> Result<Self> {
        let json = read_whole(&reader, family::FILE)?;
        let json = std::str::from_utf8(&json).map_err(|e| Error::format(reader.path(family::FILE), e))?;
        let (config, naming) = family::parse(json)?;
        let checkpoint = Checkpoint::from_reader(reader)?;
        let naming = naming.detect_prefix(|name| checkpoint.contains(name));
        checkpoint.check(&config, naming)?;
        Ok(Self { config, naming, checkpoint })
    }

    /// Reads the tensor of a slot, row-major and widened to f32; refuses NaN and infinities.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorMismatch`], [`Error::NotFinite`], or [`Error::Io`] where the
    /// reader fails.
    pub fn fetch(&self, slot: Slot, shape: &[usize]) -> Result<Vec<f32>> {
        let name = self.naming.tensor_name(slot);
        let tensor = self.checkpoint.tensor(&name, shape)?;
        tensor.check_finite()?;
        Ok(tensor.to_f32())
    }
}
