//! Whether tokens will do.

use super::Session;
use crate::{Error, Result};

impl Session {
    /// Whether tokens are there, known, and fit behind the first `position`.
    pub(super) fn check_tokens(&self, position: u32, ids: &[u32]) -> Result<()> {
        self.check_known(ids)?;
        self.check_room(position, ids.len())
    }

    /// Whether tokens are there, and known.
    pub(super) fn check_known(&self, ids: &[u32]) -> Result<()> {
        let vocab = self.model().config().vocab_size;
        if ids.is_empty() {
            return Err(Error::Request("the prompt is empty".into()));
        }
        if let Some(id) = ids.iter().find(|id| **id >= vocab) {
            return Err(Error::Request(format!("token {id} is outside the vocabulary of {vocab}")));
        }
        Ok(())
    }

    pub(super) fn check_room(&self, position: u32, tokens: usize) -> Result<()> {
        let context = self.options.context;
        match position as usize + tokens > context as usize {
            true => Err(Error::Request(format!(
                "{tokens} tokens after {position} do not fit into a context of {context}"
            ))),
            false => Ok(()),
        }
    }
}
