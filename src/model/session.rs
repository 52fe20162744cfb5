//! Sequences of tokens: their caches, their passes, their places.

mod caches;
mod encode;
mod fill;
mod generate;
mod members;
mod named;
mod pages;
mod passes;
mod plan;
mod routes;
mod sequences;
mod step;
mod tokens;
mod upload;

use std::collections::HashMap;

pub use generate::{GenerateOptions, Generated};
pub use plan::{SessionOptions, SessionPlan};
pub use sequences::{SequenceId, SequenceOptions};
pub use step::Feed;

use caches::Caches;
use named::allocate_named;
use passes::Passes;
use plan::check_task;
use sequences::Sequences;

use super::config::Op;
use super::loaded::Model;
use crate::energy::Ledger;
use crate::gpu::Gpu;
use crate::kernel::{SequenceSpan, Span};
use crate::schedule::Schedule;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Where all sequences stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    state: State,
    /// Passes on the ledger's count.
    recorded: u64,
}

/// What recording changes, beside the ledger.
#[derive(Clone, Debug, PartialEq)]
struct State {
    sequences: Sequences,
    /// What the device's uniform says, where that is known.
    spans_on_device: Option<Vec<SequenceSpan>>,
    /// The page table as the device has it, by place.
    pages_on_device: Vec<Vec<u32>>,
    /// Tokens of the encoder's input.
    encoded: Option<u32>,
}

/// Sequences of tokens that a model reads and continues.
///
/// There is one from the beginning, [`Session::first`], and for many who need one only it is all there is: [`Session::prefill`],
/// [`Session::decode`], [`Session::generate`] and others go on with it. A session for more of them
/// ([`SessionOptions::sequences`]) has them [join](Session::join), [fork](Session::fork), be
/// [cut](Session::truncate) and [leave](Session::leave) between [steps](Session::step) that all take together.
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
    caches: Caches,
    state: State,
    first: SequenceId,
    /// The spans of the last pass where that was one over prompts.
    traced: Option<Vec<Span>>,
    /// Whether some routing compares the tokens of a prompt.
    compares_tokens: bool,
    ledger: Ledger,
}

impl Session {
    /// Plans and allocates a session, and builds its pipelines.
    ///
    /// # Errors
    /// [`Error::Memory`], before anything is allocated where a ceiling or a limit is passed; [`Error::Request`] for
    /// options out of range; [`Error::Shape`] for chunks whose balance, as trained, a CPU device cannot finish; [`Error::Shader`].
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
        let caches = Caches::new(gpu, &plan.decode.0, options.sequences, &named).await?;
        let mut sequences = Sequences::new(options.sequences, options.paging, plan.local.clone());
        let seed = options.sampling.map_or(0, |sampling| sampling.seed);
        let first = sequences.join(SequenceOptions { seed, task: options.task })?;
        let compares = |op: &Op| matches!(op, Op::Experts(experts) if experts.compares_tokens(options.training.is_some()));
        let compares_tokens = model.config().ops().any(|(_, op)| compares(op));
        let pages_on_device = vec![Vec::new(); options.sequences as usize];
        Ok(Self {
            chunk_rows: plan.chunk_rows,
            options,
            passes,
            other_passes: Vec::new(),
            pool,
            named,
            caches,
            state: State { sequences, spans_on_device: None, pages_on_device, encoded: None },
            first,
            traced: None,
            compares_tokens,
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

    /// Records tokens of the first sequence's prompt, at most [`Session::chunk_rows`]. With `last`, logits follow, and a sampled
    /// token where the session samples.
    ///
    /// # Errors
    /// Those of [`Session::step`].
    pub fn prefill(&mut self, encoder: &mut wgpu::CommandEncoder, ids: &[u32], last: bool) -> Result<()> {
        let feed = if last { Feed::Prompt(ids) } else { Feed::Part(ids) };
        self.step(encoder, &[(self.first, feed)])
    }

    /// Records one step of the first sequence for the token that the last pass sampled of it, which stays on the device.
    ///
    /// # Errors
    /// Those of [`Session::step`].
    pub fn decode(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        self.step(encoder, &[(self.first, Feed::Sampled)])
    }

    /// Records one step of the first sequence for a token of the caller's.
    ///
    /// # Errors
    /// Those of [`Session::step`].
    pub fn decode_token(&mut self, encoder: &mut wgpu::CommandEncoder, id: u32) -> Result<()> {
        self.step(encoder, &[(self.first, Feed::Token(id))])
    }

    /// Another task for the first sequence from the next pass on, for models whose experts go by tasks; others take no notice of it.
    ///
    /// # Errors
    /// [`Error::Request`] for a task that some layer does not have, or where the first sequence has left.
    pub fn set_task(&mut self, task: u32) -> Result<()> {
        check_task(self.model().config(), Some(task))?;
        self.state.sequences.get_mut(self.first)?.options.task = Some(task);
        Ok(())
    }

    /// Where all sequences stand, to come back to with [`Session::rewind`].
    pub fn mark(&self) -> Mark {
        Mark { state: self.state.clone(), recorded: self.ledger.recorded() }
    }

    /// Takes back what was recorded since `mark` and never ran, from the ledger too: its encoder was dropped, or its submit
    /// failed. Passes that did run cannot be taken back, as they have written to the caches. A mark of another session says
    /// nothing here.
    pub fn rewind(&mut self, mark: Mark) {
        self.state = mark.state;
        self.traced = None;
        self.ledger.take_back(mark.recorded);
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
