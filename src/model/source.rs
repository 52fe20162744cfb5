//! A model as it lies in files: what it is, and where its tensors are.

#[cfg(feature = "files")]
use std::path::Path;

use crate::gpu::Capabilities;
use crate::model::checkpoint::{Checkpoint, FileReader, read_whole};
use crate::model::config::{ModelConfig, Op, Routing};
use crate::model::family;
use crate::model::layout::{Layout, OpLayout, VectorsKind};
use crate::model::naming::Naming;
use crate::model::plan::WeightPlan;
use crate::model::slot::{Part, Place, Role, Slot};
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

    /// How its weights will lie on a device: as [`Layout::new`] says, and where a plan stores codes and the checkpoint
    /// has a `delta` or an `s` beside a weight, for transformed inputs.
    ///
    /// # Errors
    /// [`Error::Config`]; those of [`Layout::new`]; [`Error::Unsupported`] where they lie beside an embedding or
    /// beside experts whose inputs are weighted.
    pub fn layout(&self, plan: &WeightPlan, capabilities: &Capabilities) -> Result<Layout> {
        self.config.validate()?;
        let layout = Layout::new(&self.config, plan, capabilities)?.with_transforms(|slot| {
            [Part::Delta, Part::Scale]
                .iter()
                .any(|part| self.checkpoint.contains(&self.naming.tensor_name(slot.its(*part))))
        });
        let refuse = |slot: &Slot, why: &str| {
            let what = format!("a delta or an s beside '{}'", self.naming.tensor_name(*slot));
            Err(Error::Unsupported { what, why: why.into() })
        };
        let transforms = layout.vectors().filter(|vectors| vectors.kind == VectorsKind::Transform);
        let of_embedding = |slot: &&Slot| matches!(slot.role, Role::Embedding | Role::LayerTable);
        if let Some(slot) = transforms.flat_map(|vectors| &vectors.slots).find(of_embedding) {
            return refuse(slot, "the inputs of an embedding are tokens, and a tied head shares its weights");
        }
        // Its shift would be weighted, too, and nobody has trained such a thing.
        for layer in layout.sublayers() {
            let OpLayout::Experts(experts) = &layer.op else { continue };
            let mut transforms = experts.into.matrices.iter().filter_map(|matrix| matrix.transform.as_ref());
            if let Some(transform) = transforms.next().filter(|_| experts.config.routing.weighs_inputs()) {
                return refuse(&transform.slots[0], "the router weighs these inputs");
            }
            let of_down = experts.down.matrices.iter().find_map(|matrix| matrix.transform.as_ref());
            let choose = matches!(experts.config.routing, Routing::ExpertChoice { .. });
            if let Some(transform) = of_down.filter(|_| choose) {
                return refuse(&transform.slots[0], "experts choose the tokens of these inputs");
            }
        }
        Ok(layout)
    }

    /// What a checkpoint may have beside a weight, in one of these shapes, row-major and widened to f32; `None` where it
    /// has nothing.
    ///
    /// # Errors
    /// As [`Source::fetch`]; [`Error::TensorMismatch`] for an `s` that nothing can be divided by.
    pub fn fetch_learned(&self, slot: Slot, shapes: &[Vec<usize>]) -> Result<Option<Vec<f32>>> {
        let name = self.naming.tensor_name(slot);
        let Some(shape) = self.checkpoint.shape(&name) else { return Ok(None) };
        if !shapes.iter().any(|expected| expected == shape) {
            let expected: Vec<_> = shapes.iter().map(|shape| format!("{shape:?}")).collect();
            let expected = format!("shape {}", expected.join(" or "));
            return Err(Error::TensorMismatch { name, expected, found: format!("{shape:?}") });
        }
        let values = self.fetch(slot, shape)?;
        let divides = |s: &f32| *s > 0.0 && s.recip().is_finite();
        match values.iter().find(|s| slot.part == Part::Scale && !divides(s)) {
            Some(s) => Err(Error::TensorMismatch {
                name,
                expected: "numbers above 0 that one can be divided by".into(),
                found: s.to_string(),
            }),
            None => Ok(Some(values)),
        }
    }

    /// Reads the tensor of a slot, row-major and widened to f32; refuses NaN and infinities.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorMismatch`], [`Error::NotFinite`], or [`Error::Io`] where the
    /// reader fails.
    pub fn fetch(&self, slot: Slot, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.checkpoint.stored(self.naming.locate(slot, shape))?;
        tensor.check_finite()?;
        let values = tensor.to_f32();
        if slot.role == Role::ExpertTable {
            self.check_experts(slot, &values)?;
        }
        Ok(values)
    }

    /// Refuses numbers that are no experts of the sub-layer they are for.
    fn check_experts(&self, slot: Slot, values: &[f32]) -> Result<()> {
        let of_place = self.config.ops().find_map(|(place, op)| match op {
            Op::Experts(experts) if place == slot.place => Some((experts.count, experts.top_k)),
            _ => None,
        });
        let (count, choices) = of_place.unwrap_or((0, 1));
        let repeats = |row: &&[f32]| (1..row.len()).any(|n| row[..n].contains(&row[n]));
        if let Some(row) = values.chunks(choices as usize).find(repeats) {
            return Err(Error::TensorMismatch {
                name: self.naming.tensor_name(slot),
                expected: "an expert once in a row".into(),
                found: format!("{row:?}"),
            });
        }
        let is_expert = |value: &&f32| value.fract() == 0.0 && (0.0..count as f32).contains(*value);
        match values.iter().find(|value| !is_expert(value)) {
            Some(value) => Err(Error::TensorMismatch {
                name: self.naming.tensor_name(slot),
                expected: format!("whole numbers below the {count} experts"),
                found: value.to_string(),
            }),
            None => Ok(()),
        }
    }
}
