//! A forward pass as plain data: which kernels run on which tensors, in order. No GPU is touched.

pub mod execute;
pub mod memory;

use std::fmt;
use std::sync::Arc;

use crate::energy::Phase;
use crate::kernel::{AnyLaunch, BindingKind, Span};
use crate::{Error, Result};

/// A tensor of a [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorId(usize);

impl TensorId {
    /// Its index in [`Schedule::tensors`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// Where a tensor's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    /// Bound by name when the schedule is prepared: weights, caches, inputs, results that outlive the pass.
    Named,
    /// Lives from the step that writes it to the last that reads it; shares memory with others.
    Activation,
}

/// What a schedule knows of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its size in bytes, at the most rows a pass may have.
    pub bytes: u64,
    /// Where its memory comes from.
    pub home: Home,
}

/// The place in the model that a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// Block and sub-layer; `None` for embedding, head and sampling.
    pub sublayer: Option<(u32, u32)>,
    /// What the step does there: `qkv`, `gate_up`, ...
    pub what: &'static str,
}

/// One dispatch.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where in the model.
    pub site: Site,
    /// The kernel with its numbers.
    pub launch: Arc<dyn AnyLaunch>,
    /// The tensor of every storage binding, by binding number.
    pub tensors: Vec<(u32, TensorId)>,
}

/// Dispatches in order, and the tensors they read and write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    /// The tensors.
    pub tensors: Vec<TensorInfo>,
    /// The dispatches.
    pub steps: Vec<Step>,
    /// The most rows a pass of this schedule may have.
    pub max_rows: u32,
    /// What its passes are for.
    pub phase: Phase,
    /// Named tensors whose rows the ledger keeps after each pass, with the `u32` words of a row.
    pub notes: Vec<(TensorId, u64)>,
    /// Named tensors that hold what sequences leave for their later tokens.
    pub caches: Vec<CacheTensor>,
}

/// What sequences leave for their later tokens, in parts of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheTensor {
    /// The tensor.
    pub tensor: TensorId,
    /// Bytes of a part.
    pub part_bytes: u64,
    /// Whether a part is a page that sequences may share, and not the place of one sequence.
    pub paged: bool,
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.site == other.site
            && self.tensors == other.tensors
            && self.launch.params() == other.launch.params()
            && self.launch.source() == other.launch.source()
    }
}

impl Schedule {
    /// An empty schedule for passes of a prompt, of at most `max_rows` rows.
    pub fn new(max_rows: u32) -> Self {
        Self { max_rows, ..Self::default() }
    }

    /// A tensor that is bound by name: the same name is the same tensor, of the largest size asked for.
    pub fn named(&mut self, name: impl Into<String>, bytes: u64) -> TensorId {
        let name = name.into();
        match self.tensors.iter().position(|t| t.home == Home::Named && t.name == name) {
            Some(at) => {
                self.tensors[at].bytes = self.tensors[at].bytes.max(bytes);
                TensorId(at)
            }
            None => self.add(TensorInfo { name, bytes, home: Home::Named }),
        }
    }

    /// A tensor whose memory is planned.
    pub fn activation(&mut self, name: impl Into<String>, bytes: u64) -> TensorId {
        self.add(TensorInfo { name: name.into(), bytes, home: Home::Activation })
    }

    /// Has the ledger keep what passes leave in a named tensor: so many words for each of their rows.
    pub fn note(&mut self, tensor: TensorId, row_words: u64) {
        self.notes.push((tensor, row_words));
    }

    /// A named tensor that holds so many parts of a cache.
    pub fn cache(&mut self, name: impl Into<String>, parts: u32, part_bytes: u64, paged: bool) -> TensorId {
        let tensor = self.named(name, u64::from(parts) * part_bytes);
        if !self.caches.iter().any(|cache| cache.tensor == tensor) {
            self.caches.push(CacheTensor { tensor, part_bytes, paged });
        }
        tensor
    }

    fn add(&mut self, info: TensorInfo) -> TensorId {
        self.tensors.push(info);
        TensorId(self.tensors.len() - 1)
    }

    /// Appends a dispatch; `tensors` names the tensor of every storage binding.
    ///
    /// # Errors
    /// [`Error::Shape`] when the kernel's numbers do not fit together; when a binding is missing, unknown, too small for
    /// a pass of `max_rows` rows, or reads what no earlier step has written; when a tensor is both read and written.
    pub fn dispatch(
        &mut self,
        site: Site,
        launch: Arc<dyn AnyLaunch>,
        tensors: &[(&'static str, TensorId)],
    ) -> Result<()> {
        let kernel = launch.name();
        launch.check()?;
        let mut bound = Vec::new();
        let mut storage = 0;
        for binding in launch.bindings() {
            if matches!(binding.kind, BindingKind::Params | BindingKind::Span) {
                continue;
            }
            storage += 1;
            let Some(&(_, id)) = tensors.iter().find(|(name, _)| *name == binding.name) else {
                return Err(Error::shape(kernel, binding.name, "a tensor", "none"));
            };
            let writes = binding.kind == BindingKind::Write;
            if tensors.iter().filter(|(_, other)| *other == id).count() > 1 && writes {
                return Err(Error::shape(
                    kernel,
                    binding.name,
                    "a tensor of its own",
                    "one that is also read",
                ));
            }
            if !writes && !self.is_written(id) {
                let found = format!("'{}', which nothing has written", self.tensors[id.0].name);
                return Err(Error::shape(kernel, binding.name, "a tensor with contents", found));
            }
            bound.push((binding.index, id));
        }
        if storage != tensors.len() {
            let names: Vec<_> = tensors.iter().map(|(name, _)| *name).collect();
            return Err(Error::shape(kernel, "bindings", format!("{storage} tensors"), names.join(", ")));
        }
        self.check_sizes(launch.as_ref(), tensors)?;
        self.steps.push(Step { site, launch, tensors: bound });
        Ok(())
    }

    /// Refuses tensors that are smaller than a pass may need, or larger than a kernel can index.
    fn check_sizes(&self, launch: &dyn AnyLaunch, tensors: &[(&'static str, TensorId)]) -> Result<()> {
        // Kernels count elements in u32; the half leaves room for the lanes beyond the last.
        const MOST: u64 = 4 << 31;
        for (binding, needed) in launch.sizes(self.max_rows) {
            if needed > MOST {
                return Err(Error::shape(launch.name(), binding, format!("at most {MOST} bytes"), needed));
            }
            let Some((_, id)) = tensors.iter().find(|(name, _)| *name == binding) else { continue };
            let TensorInfo { name, bytes, .. } = &self.tensors[id.0];
            if *bytes < needed {
                let (expected, found) = (format!("at least {needed} bytes"), format!("'{name}' of {bytes}"));
                return Err(Error::shape(launch.name(), binding, expected, found));
            }
        }
        Ok(())
    }

    fn is_written(&self, id: TensorId) -> bool {
        // What is read was most often written a few steps before.
        self.tensors[id.0].home == Home::Named
            || self.steps.iter().rev().any(|step| step.writes().any(|written| written == id))
    }

    /// Dispatches of a pass by kernel, in order of first use.
    pub fn dispatches(&self) -> Vec<(&'static str, usize)> {
        let mut counts: Vec<(&'static str, usize)> = Vec::new();
        for step in &self.steps {
            let name = step.launch.name();
            match counts.iter_mut().find(|(kernel, _)| *kernel == name) {
                Some((_, count)) => *count += 1,
                None => counts.push((name, 1)),
            }
        }
        counts
    }

    /// The uniforms of all steps one behind the other, each at a multiple of `alignment` bytes, and where each lies:
    /// offset and bytes.
    pub fn params(&self, alignment: u64) -> (Vec<u8>, Vec<(u64, u64)>) {
        let (mut data, mut places) = (Vec::new(), Vec::with_capacity(self.steps.len()));
        for step in &self.steps {
            let params = step.launch.params();
            places.push((data.len() as u64, params.len() as u64));
            data.extend_from_slice(params);
            data.resize(data.len().next_multiple_of(alignment as usize), 0);
        }
        (data, places)
    }

    /// What a pass moves and computes.
    pub fn work(&self, spans: impl AsRef<[Span]>) -> crate::energy::Work {
        let mut total = crate::energy::Work::default();
        for step in &self.steps {
            total += step.launch.work(spans.as_ref());
        }
        total
    }

    /// Operations that a pass executes at the most. The dispatches of one product by groups of experts are counted as
    /// one: whichever group a row falls to, it is computed once.
    pub fn most_ops(&self, spans: impl AsRef<[Span]>) -> u64 {
        let spans = spans.as_ref();
        let mut total = 0;
        let mut products: Vec<(TensorId, u64)> = Vec::new();
        for step in &self.steps {
            let (Some(whole), Some(y)) = (step.launch.whole_work(spans), step.writes().next()) else {
                total += step.launch.work(spans).total_ops().most;
                continue;
            };
            let ops = whole.total_ops().most;
            match products.iter_mut().find(|(product, _)| *product == y) {
                // Groups may have kernels of their own.
                Some((_, most)) => *most = ops.max(*most),
                None => products.push((y, ops)),
            }
        }
        total + products.iter().map(|(_, ops)| ops).sum::<u64>()
    }
}

impl Step {
    /// The tensors it writes.
    pub fn writes(&self) -> impl Iterator<Item = TensorId> {
        let written: Vec<_> = self
            .launch
            .bindings()
            .into_iter()
            .filter(|binding| binding.kind == BindingKind::Write)
            .map(|binding| binding.index)
            .collect();
        self.tensors.iter().filter(move |(index, _)| written.contains(index)).map(|(_, id)| *id)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sublayer {
            Some((block, sublayer)) => write!(f, "{block}.{sublayer} {}", self.what),
            None => f.write_str(self.what),
        }
    }
}

/// One line per dispatch: place, kernel variant, tensors.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            write!(f, "{:<16} {} (", step.site.to_string(), step.launch.source())?;
            let mut comma = "";
            for binding in step.launch.bindings() {
                if let Some((_, id)) = step.tensors.iter().find(|(index, _)| *index == binding.index) {
                    write!(f, "{comma}{}={}", binding.name, self.tensors[id.0].name)?;
                    comma = ", ";
                }
            }
            writeln!(f, ")")?;
        }
        Ok(())
    }
}
