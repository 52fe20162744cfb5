//! The convenience around passes: prompts in chunks, a submit per step, tokens as they come.

use std::ops::ControlFlow;
use std::time::Duration;

use web_time::Instant;

use super::{SequenceId, Session};
use crate::gpu::Gpu;
use crate::schedule::Schedule;
use crate::tensor::{Tensor, read_staging};
use crate::{Error, Result};

/// When to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerateOptions {
    /// Most tokens to generate.
    pub max_tokens: u32,
    /// Tokens that end the answer; the one that does is its last.
    pub stop_ids: Vec<u32>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The answer.
    pub tokens: Vec<u32>,
    /// From the call to the first token on the host.
    pub time_to_first_token: Duration,
    /// From there to the last.
    pub decode_time: Duration,
}

impl Session {
    /// Feeds a prompt, of a model with an encoder the beginning of its answer, a submit per chunk.
    ///
    /// # Errors
    /// Those of [`Session::prefill`] and of submitting. Nothing is fed when a token of the prompt is not in the
    /// vocabulary or does not fit.
    pub async fn feed(&mut self, prompt: &[u32]) -> Result<()> {
        self.check_tokens(self.position(), prompt)?;
        let chunks = prompt.len().div_ceil(self.chunk_rows() as usize);
        let gpu = self.gpu().clone();
        for (n, ids) in prompt.chunks(self.chunk_rows() as usize).enumerate() {
            let last = n + 1 == chunks;
            let schedule = self.passes.of_prompt(&self.options, last).schedule().clone();
            let pass = (&*schedule, ids.len() as u32);
            self.submit(&gpu, pass, |session, encoder| session.prefill(encoder, ids, last)).await?;
        }
        Ok(())
    }

    /// One decode step and the token it draws, in one submit.
    async fn next_token(&mut self, gpu: &Gpu, staging: &wgpu::Buffer) -> Result<u32> {
        let schedule = self.passes.of_step(1).schedule().clone();
        self.submit(gpu, (&schedule, 1), |session, encoder| {
            session.decode(encoder)?;
            let (Some(at), Some(samples)) = (session.sampled().checked_sub(1), session.tensor("samples"))
            else {
                return Err(Error::Request("no token has been sampled".into()));
            };
            let place = u64::from(session.first.slot()) * u64::from(session.options.context);
            let offset = samples.offset() + 4 * (place + u64::from(at));
            encoder.copy_buffer_to_buffer(samples.buffer(), offset, staging, 0, 4);
            Ok(())
        })
        .await?;
        Ok(read_staging::<u32>(gpu, staging, 4).await?[0])
    }

    /// Submits what `record` records, a pass of so many rows; one that did not get there is taken back.
    pub(super) async fn submit(
        &mut self,
        gpu: &Gpu,
        (schedule, rows): (&Schedule, u32),
        record: impl FnOnce(&mut Self, &mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<()> {
        if !self.ledger.has_room(schedule, rows) {
            self.ledger.collect(gpu).await?;
        }
        let mark = self.mark();
        let submitted = gpu.submit("wattle", |encoder| record(self, encoder)).await;
        if submitted.is_err() {
            self.rewind(mark);
        }
        submitted
    }

    /// Feeds a prompt and generates an answer, handing each token to `on_token` as it comes; breaking stops. Where there is an
    /// encoder, the prompt is its input, and the answer a new sequence.
    ///
    /// # Errors
    /// Those of [`Session::feed`] and [`Session::read`]; [`Error::Request`] when the session does not sample or the answer does not fit.
    pub async fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        mut on_token: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Generated> {
        if self.options.sampling.is_none() {
            return Err(Error::Request("the session does not sample".into()));
        }
        let begin = Instant::now();
        let start = self.model().config().encoder.as_ref().map(|encoder| [encoder.start_id]);
        let (position, fed) = start.as_ref().map_or((self.position(), prompt), |start| (0, &start[..]));
        // The last token is sampled and not fed back, so it needs no room.
        self.check_room(position, fed.len() + options.max_tokens.saturating_sub(1) as usize)?;
        if start.is_some() {
            self.read(prompt).await?;
        }
        let prompt = fed;
        let gpu = self.gpu().clone();
        let mut generated = Generated {
            tokens: Vec::new(),
            time_to_first_token: Duration::ZERO,
            decode_time: Duration::ZERO,
        };
        if options.max_tokens == 0 {
            self.feed(prompt).await?;
            return Ok(generated);
        }
        self.feed(prompt).await?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = gpu.buffer("token read-back", 4, usage).await?;
        let mut token = self.last_sample().await?;
        loop {
            generated.tokens.push(token);
            if generated.tokens.len() == 1 {
                generated.time_to_first_token = begin.elapsed();
            }
            let stopped = on_token(token).is_break() || options.stop_ids.contains(&token);
            if stopped || generated.tokens.len() as u32 == options.max_tokens {
                generated.decode_time = begin.elapsed() - generated.time_to_first_token;
                return Ok(generated);
            }
            token = self.next_token(&gpu, &staging).await?;
        }
    }

    /// The token that the last pass sampled of the first sequence, read back.
    ///
    /// # Errors
    /// [`Error::Request`] when none was sampled; those of reading back.
    pub async fn last_sample(&self) -> Result<u32> {
        let none = || Error::Request("no token has been sampled".into());
        let last = self.sampled_of(self.first)?.checked_sub(1).ok_or_else(none)?;
        Ok(self.read_samples(self.first, last, 1).await?[0])
    }

    /// The tokens that were sampled of a sequence, read back.
    ///
    /// # Errors
    /// [`Error::Request`] where it has left; those of reading back.
    pub async fn samples_of(&self, id: SequenceId) -> Result<Vec<u32>> {
        match self.sampled_of(id)? {
            0 => Ok(Vec::new()),
            count => self.read_samples(id, 0, count).await,
        }
    }

    async fn read_samples(&self, id: SequenceId, first: u32, count: u32) -> Result<Vec<u32>> {
        let missing = || Error::MissingTensor { name: "samples".into() };
        let samples = self.tensor("samples").ok_or_else(missing)?;
        let at = id.slot() as usize * self.options.context as usize + first as usize;
        samples.read(self.gpu(), at, count as usize).await
    }

    /// The logits that the last step left for a sequence, `[V]`, read back.
    ///
    /// # Errors
    /// [`Error::Request`] where it has left, had no part in the last step, or read a part of a prompt; those of reading back.
    pub async fn logits_of(&self, id: SequenceId) -> Result<Vec<f32>> {
        let none = || Error::Request(format!("the last step left no logits for sequence {}", id.slot()));
        let row = self.logits_row_of(id)?.ok_or_else(none)? as usize;
        let vocab = self.model().config().vocab_size as usize;
        self.logits_tensor()?.read(self.gpu(), row * vocab, vocab).await
    }

    /// The logits of the first `rows` rows of the last pass, `[rows, V]`, read back. Where only the last row of a
    /// pass has logits, they are row 0.
    ///
    /// # Errors
    /// Those of reading back.
    pub async fn logits(&self, rows: usize) -> Result<Vec<f32>> {
        let vocab = self.model().config().vocab_size as usize;
        self.logits_tensor()?.read(self.gpu(), 0, rows.saturating_mul(vocab)).await
    }

    fn logits_tensor(&self) -> Result<&Tensor> {
        self.tensor("logits").ok_or_else(|| Error::MissingTensor { name: "logits".into() })
    }
}
