//! A model as it lies in files: what it is, and where its tensors are.

#[cfg(feature = "files")]
use std::path::Path;

use crate::model::checkpoint::{Checkpoint, FileReader, read_whole};
use crate::model::config::ModelConfig;
use crate::model::family;
use crate::model::naming::Naming;
use crate::model::slot::{Place, Role, Slot};
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
        let mut source = Self { config, naming, checkpoint };
        if source.config.head.tied {
            source.find_head()?;
        }
        source.checkpoint.check(&source.config, source.naming)?;
        Ok(source)
    }

    /// What a description calls tied and the files hold twice is tied only where both are the same, and what they hold
    /// once may lie under either name. So does Hugging Face (transformers 5.23, `tie_weights`).
    fn find_head(&mut self) -> Result<()> {
        let names = [Role::Embedding, Role::Head]
            .map(|role| self.naming.tensor_name(Slot::weight(Place::Model, role)));
        match names.each_ref().map(|name| self.checkpoint.contains(name)) {
            [true, true] => {
                let shape = [self.config.vocab_size, self.config.hidden_size].map(|n| n as usize);
                let [embedding, head] = names.each_ref().map(|name| self.checkpoint.tensor(name, &shape));
                let (embedding, head) = (embedding?, head?);
                self.config.head.tied = embedding.dtype == head.dtype && embedding.bytes == head.bytes;
            }
            [false, true] => self.naming = self.naming.with_table_as_head(),
            [_, false] => {}
        }
        Ok(())
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
