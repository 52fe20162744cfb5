//! Caches full of random keys and values: what a step costs far into a context, without the prompt that leads there.

use super::Session;
use super::sequences::SequenceId;
use crate::fragments::CacheFormat;
use crate::model::config::Op;
use crate::model::slot::Stack;
use crate::quant::random_words;
use crate::reference::cache_rows::pack;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Rows that are made and sent at a time.
const ROWS: u64 = 2048;

impl Session {
    /// Puts a sequence that has no tokens yet at `tokens`, with keys and values from -1 to 1, drawn from `seed`, in everything that
    /// its layers keep of them. Takes effect before whatever is submitted next, so passes that are recorded must have been submitted:
    /// one of a sequence that had the same place or the same pages would write over it.
    ///
    /// # Errors
    /// [`Error::Request`] where the sequence has left, has tokens already, or would have more than the context or the free pages
    /// hold, and for a model with an encoder; [`Error::TensorMismatch`] where a cache lies in a buffer of the host's that cannot be
    /// copied to; [`Error::Gpu`] where the device is lost. Then nothing has changed.
    pub fn fill(&mut self, id: SequenceId, tokens: u32, seed: u64) -> Result<()> {
        if self.state.sequences.get(id)?.position > 0 {
            return Err(Error::Request("a sequence that has tokens already cannot be filled".into()));
        }
        if self.model().config().encoder.is_some() {
            return Err(Error::Request("what an encoder gives cannot be filled".into()));
        }
        self.check_room(0, tokens as usize)?;
        if tokens == 0 {
            return Ok(());
        }
        self.gpu().check()?;
        let caches = self.filled()?;
        self.state.sequences.grow(id, tokens)?;
        let sequence = self.state.sequences.get_mut(id)?;
        (sequence.position, sequence.next_on_device) = (tokens, false);
        let pages = sequence.pages.clone();
        let mut random = Random { key: seed, made: 0 };
        for cache in &caches {
            let parts = if cache.paged { pages.as_slice() } else { &[id.slot()] };
            parts.iter().for_each(|part| self.fill_part(cache, *part, &mut random));
            // Lets the queue free its staging memory before the next cache.
            self.gpu().queue().submit([]);
        }
        Ok(())
    }

    /// Every cache, with what its rows are.
    fn filled(&self) -> Result<Vec<Filled>> {
        let mut filled = Vec::new();
        let schedule = self.passes.decode.schedule();
        for (place, op) in self.model().config().ops_of(Stack::Decoder) {
            let head_dim = match op {
                Op::Attention(attention) => attention.head_dim,
                Op::LatentAttention(attention) => attention.kv_rows(),
                Op::CrossAttention(_) | Op::FeedForward(_) | Op::Experts(_) => continue,
                Op::LayerInput(_) | Op::Parallel(_) => continue,
            };
            let names = ["k_cache", "v_cache"].map(|part| place.name(part));
            for cache in &schedule.caches {
                let name = &schedule.tensors[cache.tensor.index()].name;
                let Some(tensor) = self.named.get(name).filter(|_| names.contains(name)) else { continue };
                if !tensor.buffer().usage().contains(wgpu::BufferUsages::COPY_DST) {
                    return Err(Error::TensorMismatch {
                        name: name.clone(),
                        expected: "a buffer that can be copied to, to be filled".into(),
                        found: format!("{:?}", tensor.buffer().usage()),
                    });
                }
                let (tensor, part_bytes, paged) = (tensor.clone(), cache.part_bytes, cache.paged);
                filled.push(Filled { tensor, part_bytes, paged, format: self.options.cache, head_dim });
            }
        }
        Ok(filled)
    }

    fn fill_part(&self, cache: &Filled, part: u32, random: &mut Random) {
        let row_bytes = cache.format.row_bytes(cache.head_dim);
        let begin = cache.tensor.offset() + u64::from(part) * cache.part_bytes;
        let rows = cache.part_bytes / row_bytes;
        for first in (0..rows).step_by(ROWS as usize) {
            let elements = ROWS.min(rows - first) * u64::from(cache.head_dim);
            let words = pack(cache.format, &random.take(elements as usize), cache.head_dim as usize);
            let at = begin + first * row_bytes;
            self.gpu().queue().write_buffer(cache.tensor.buffer(), at, bytemuck::cast_slice(&words));
        }
    }
}

/// A cache to be filled.
struct Filled {
    tensor: Tensor,
    part_bytes: u64,
    paged: bool,
    format: CacheFormat,
    head_dim: u32,
}

/// Numbers from -1 to 1.
struct Random {
    key: u64,
    made: usize,
}

impl Random {
    fn take(&mut self, count: usize) -> Vec<f32> {
        let words = random_words(self.key, self.made, count);
        self.made += count;
        words.into_iter().map(|word| (word >> 8) as f32 / (1u32 << 23) as f32 - 1.0).collect()
    }
}
