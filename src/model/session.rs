//! One sequence: its caches, its passes, its place.

mod encode;
mod generate;
mod named;
mod passes;
mod plan;
mod routes;
mod tokens;

use std::collections::HashMap;

pub use generate::{GenerateOptions, Generated};
pub use plan::{SessionOptions, SessionPlan};

use named::allocate_named;
use passes::Passes;
use plan::check_task;

use super::loaded::Model;
use crate::energy::Ledger;
use crate::gpu::Gpu;
use crate::kernel::Span;
use crate::schedule::Schedule;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// A place in a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    position: u32,
    samples: u32,
    next_on_device: bool,
    encoded: Option<u32>,
    /// Passes on the ledger's count.
    recorded: u64,
}

/// A sequence of tokens that a model reads and continues.
///
/// Passes are recorded into an encoder of the caller's choice; any number may be recorded before one submit. What a
/// pass needs of the host travels in the encoder itself, and a sampled token goes from one pass to the next on the
/// device, so that nothing is read back in between. A session counts what was recorded; whoever drops an encoder
/// instead of submitting it says so with [`Session::rewind`].
pub struct Session {
    options: SessionOptions,
    chunk_rows: u32,
    passes: Passes,
    /// Those of models served before.
    other_passes: Vec<Passes>,
    pool: Vec<Tensor>,
    named: HashMap<String, Tensor>,
    position: u32,
    samples: u32,
    next_on_device: bool,
    /// Tokens of the last pass where that was one over a prompt.
    traced_rows: Option<u32>,
    /// Tokens of the encoder's input.
    encoded: Option<u32>,
    ledger: Ledger,
}

impl Session {
    /// Plans and allocates a session, and builds its pipelines.
    ///
    /// # Errors
    /// [`Error::Memory`], before anything is allocated where a ceiling or a limit is passed; [`Error::Request`] for
    /// options out of range; [`Error::Shader`].
    pub async fn new(model: &Model, options: SessionOptions) -> Result<Self> {
        Self::with_tensors(model, options, |_, _| None).await
    }

    /// A session that keeps some of its tensors where the host says: `host` is asked for each with its name and bytes,
    /// and gives a [`Tensor::over`] a buffer of its own, or none. Names are those of [`SessionPlan::named_bytes`]: caches,
    /// `logits`, `samples`, with a trace hidden states and routes. What passes read of the host (`span`, `token_ids`, tables)
    /// stays with the session. A buffer that is to be read back needs `COPY_SRC`; its bytes count towards the ceiling.
    ///
    /// # Errors
    /// As [`Session::new`]; [`Error::TensorMismatch`] for a tensor that is too small; [`Error::Shape`] where one dispatch
    /// would read and write the same buffer.
    pub async fn with_tensors(
        model: &Model,
        options: SessionOptions,
        host: impl FnMut(&str, u64) -> Option<Tensor>,
    ) -> Result<Self> {
        let gpu = model.gpu();
        let plan = SessionPlan::new(model.config(), model.layout(), gpu.capabilities(), &options)?;
        plan.check_limits(gpu.capabilities())?;
        plan.check_ceiling(model.layout().bytes(), options.memory_ceiling)?;
        let named = allocate_named(model, &plan, host).await?;
        let pool = plan.pool.allocate(gpu).await?;
        let passes = Passes::prepare(model, &plan, &named, &pool).await?;
        let ledger = Ledger::with_notes(gpu, options.ledger, plan.note_bytes).await?;
        Ok(Self {
            chunk_rows: plan.chunk_rows,
            options,
            passes,
            other_passes: Vec::new(),
            pool,
            named,
            position: 0,
            samples: 0,
            next_on_device: false,
            traced_rows: None,
            encoded: None,
            ledger,
        })
    }

    /// Goes on with the same weights at other widths, [`Model::served_at`]: caches, place and samples stay as they are.
    /// Nothing is loaded, and of pipelines only those of new widths are built; widths that were served before cost
    /// nothing. What has been recorded before is not changed by it.
    ///
    /// # Errors
    /// [`Error::Request`] for other weights than the session's; [`Error::Memory`] beyond the session's ceiling;
    /// [`Error::Shader`].
    pub async fn serve(&mut self, model: &Model) -> Result<()> {
        if self.model().is_same(model) {
            return Ok(());
        }
        if !self.model().shares_weights(model) {
            let (ours, other) = (&self.model().config().name, &model.config().name);
            return Err(Error::Request(format!(
                "a session of '{ours}' cannot go on with other weights, '{other}'"
            )));
        }
        let passes = match self.other_passes.iter().position(|passes| passes.model.is_same(model)) {
            Some(at) => self.other_passes.swap_remove(at),
            None => self.prepare(model).await?,
        };
        self.other_passes.push(std::mem::replace(&mut self.passes, passes));
        Ok(())
    }

    /// Passes over the session's tensors for a model it has not served yet.
    async fn prepare(&self, model: &Model) -> Result<Passes> {
        let gpu = model.gpu();
        // Chunks stay as long as they are, whatever these widths compute on the way.
        let (max_chunk, chunk_ops) = (self.chunk_rows, u64::MAX);
        let options = SessionOptions { max_chunk, chunk_ops, ..self.options.clone() };
        let mut plan = SessionPlan::new(model.config(), model.layout(), gpu.capabilities(), &options)?;
        // Every model that was served keeps the uniforms of its passes.
        plan.pass_bytes *= 2 + self.other_passes.len() as u64;
        plan.check_ceiling(model.layout().bytes(), options.memory_ceiling)?;
        // Widths change what is read and not what is computed from it.
        if plan.chunk_rows != self.chunk_rows || !self.holds(&plan) {
            return Err(Error::Request("these widths need other activations than the session's".into()));
        }
        Passes::prepare(model, &plan, &self.named, &self.pool).await
    }

    /// Whether a plan's tensors are there.
    fn holds(&self, plan: &SessionPlan) -> bool {
        let large = |tensor: &Tensor, bytes: u64| tensor.bytes() >= bytes;
        plan.pool.buffers.len() <= self.pool.len()
            && plan.pool.buffers.iter().zip(&self.pool).all(|(bytes, tensor)| large(tensor, *bytes))
            && plan
                .named_bytes()
                .iter()
                .all(|(name, bytes)| self.named.get(name).is_some_and(|tensor| large(tensor, *bytes)))
    }

    /// Records tokens of a prompt, at most [`Session::chunk_rows`]. With `last`, logits follow, and a sampled token
    /// where the session samples.
    ///
    /// # Errors
    /// [`Error::Request`] for no token, too many, one outside the vocabulary, or one beyond the context;
    /// [`Error::DeviceLost`].
    pub fn prefill(&mut self, encoder: &mut wgpu::CommandEncoder, ids: &[u32], last: bool) -> Result<()> {
        if ids.len() > self.chunk_rows as usize {
            let most = self.chunk_rows;
            return Err(Error::Request(format!("a chunk has at most {most} tokens, found {}", ids.len())));
        }
        let span = self.begin(encoder, ids)?;
        let pass = self.passes.of_prompt(&self.options, last);
        pass.encode(encoder, span, &mut self.ledger)?;
        self.advance(span, last);
        self.traced_rows = Some(span.rows);
        Ok(())
    }

    /// Records one step for the token that the last pass sampled, which stays on the device.
    ///
    /// # Errors
    /// [`Error::Request`] when no pass has sampled one, or the context is full; [`Error::DeviceLost`].
    pub fn decode(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        if !self.next_on_device {
            return Err(Error::Request("no token has been sampled; give one".into()));
        }
        self.check_encoded()?;
        self.check_room(1)?;
        self.gpu().check()?;
        let span = Span { position: self.position, rows: 1 };
        self.passes.decode.encode(encoder, span, &mut self.ledger)?;
        self.advance(span, true);
        Ok(())
    }

    /// Records one step for a token of the caller's.
    ///
    /// # Errors
    /// [`Error::Request`] for a token outside the vocabulary, or when the context is full; [`Error::DeviceLost`].
    pub fn decode_token(&mut self, encoder: &mut wgpu::CommandEncoder, id: u32) -> Result<()> {
        let span = self.begin(encoder, &[id])?;
        self.passes.decode.encode(encoder, span, &mut self.ledger)?;
        self.advance(span, true);
        Ok(())
    }

    /// Another task from the next pass on that takes tokens of the caller's, for models whose experts go by tasks; others take
    /// no notice of it.
    ///
    /// # Errors
    /// [`Error::Request`] for a task that some layer does not have.
    pub fn set_task(&mut self, task: u32) -> Result<()> {
        check_task(self.model().config(), Some(task))?;
        self.options.task = Some(task);
        Ok(())
    }

    /// Where the sequence stands, to come back to with [`Session::rewind`].
    pub fn mark(&self) -> Mark {
        Mark {
            position: self.position,
            samples: self.samples,
            next_on_device: self.next_on_device,
            encoded: self.encoded,
            recorded: self.ledger.recorded(),
        }
    }

    /// Takes back what was recorded since `mark` and never ran, from the ledger too: its encoder was dropped, or its submit
    /// failed. Passes that did run cannot be taken back, as they have written to the caches. A mark of another sequence says
    /// nothing here.
    pub fn rewind(&mut self, mark: Mark) {
        (self.position, self.samples, self.next_on_device) =
            (mark.position, mark.samples, mark.next_on_device);
        self.encoded = mark.encoded;
        self.traced_rows = None;
        self.ledger.take_back(mark.recorded);
    }

    /// Forgets all tokens, those of an encoder's input too.
    pub fn reset(&mut self) {
        (self.position, self.samples, self.next_on_device) = (0, 0, false);
        self.encoded = None;
        self.traced_rows = None;
    }

    /// Tokens in the caches once everything recorded has run.
    pub fn position(&self) -> u32 {
        self.position
    }

    /// Tokens sampled so far.
    pub fn sampled(&self) -> u32 {
        self.samples
    }

    /// Most tokens of one prefill pass: the least of what was asked for and what the work budget allows.
    pub fn chunk_rows(&self) -> u32 {
        self.chunk_rows
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.passes.model
    }

    /// The schedules of a prompt's last chunk and of a decode step.
    pub fn schedules(&self) -> [&Schedule; 2] {
        [self.passes.prefill.schedule(), self.passes.decode.schedule()]
    }

    /// What was recorded.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// A tensor by name: `logits` (`[1 or chunk_rows, V]`), `samples` (`[context]`), and what [`record`] lists.
    ///
    /// [`record`]: super::forward::record
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.named.get(name)
    }

    fn gpu(&self) -> &Gpu {
        self.model().gpu()
    }
}
