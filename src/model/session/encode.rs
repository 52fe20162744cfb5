//! The input of an encoder, which a sequence begins with.

use super::Session;
use super::upload::Upload;
use crate::gpu::Gpu;
use crate::kernel::{SequenceSpan, Span, span_bytes};
use crate::{Error, Result};

impl Session {
    /// Records one pass over the whole input of the encoder, and begins a new sequence with it: passes after it are the
    /// decoder's, and attend to it. It is no longer than [`SessionOptions::encoder_tokens`](super::SessionOptions::encoder_tokens),
    /// and whatever it costs it is one pass.
    ///
    /// # Errors
    /// [`Error::Request`] for a model without an encoder, no token, too many, or one outside the vocabulary;
    /// [`Error::DeviceLost`].
    pub fn encode(&mut self, encoder: &mut wgpu::CommandEncoder, ids: &[u32]) -> Result<()> {
        self.check_input(ids)?;
        self.gpu().check()?;
        let Some(pass) = &self.passes.encoder else { return Err(no_encoder()) };
        let rows = ids.len() as u32;
        let options = self.state.sequences.get(self.first)?.options;
        let input = Span { position: 0, rows };
        let span = SequenceSpan {
            sequence: self.first.slot(),
            step: SequenceSpan::UNSAMPLED,
            seed: options.seed,
            task: options.task.unwrap_or(0),
            ..input.into()
        };
        let mut upload = Upload::default();
        upload.add(&self.named["span"], 0, &span_bytes(0, &[span]));
        upload.add(&self.named["token_ids"], 0, bytemuck::cast_slice(ids));
        if let Some(length) = self.named.get("encoder_length") {
            upload.add(length, 0, &rows.to_ne_bytes());
        }
        upload.record(self.gpu(), encoder)?;
        pass.encode(encoder, [input], &mut self.ledger)?;
        self.reset();
        self.state.spans_on_device = None;
        self.state.encoded = Some(rows);
        Ok(())
    }

    /// The same in a submit of its own.
    ///
    /// # Errors
    /// Those of [`Session::encode`] and of submitting.
    pub async fn read(&mut self, ids: &[u32]) -> Result<()> {
        self.check_input(ids)?;
        let gpu: Gpu = self.gpu().clone();
        let Some(pass) = &self.passes.encoder else { return Err(no_encoder()) };
        let schedule = pass.schedule().clone();
        let rows = ids.len() as u32;
        self.submit(&gpu, (&schedule, rows), |session, encoder| session.encode(encoder, ids)).await
    }

    /// Tokens of the input that the decoder attends to; none before there is one, and where there is no encoder.
    pub fn encoded(&self) -> Option<u32> {
        self.state.encoded
    }

    fn check_input(&self, ids: &[u32]) -> Result<()> {
        if self.model().config().encoder.is_none() {
            return Err(no_encoder());
        }
        self.check_known(ids)?;
        let (found, most) = (ids.len(), self.options.encoder_tokens);
        match found > most as usize {
            true => Err(Error::Request(format!(
                "an input of {found} tokens is longer than the {most} that the session is planned for (encoder_tokens)"
            ))),
            false => Ok(()),
        }
    }

    /// Refuses passes of a decoder that has nothing to attend to.
    pub(super) fn check_encoded(&self) -> Result<()> {
        match (&self.model().config().encoder, self.state.encoded) {
            (Some(_), None) => {
                Err(Error::Request("there is nothing to attend to: encode an input before decoding".into()))
            }
            _ => Ok(()),
        }
    }
}

fn no_encoder() -> Error {
    Error::Request("the model has no encoder".into())
}
