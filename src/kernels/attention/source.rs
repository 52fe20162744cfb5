//! The fragments of kernels of attention.

use super::{Attention, MANY_KEYS, SPREAD, Values, sinks_fragment};
use crate::energy::Phase;
use crate::fragments::Reach;
use crate::shader::{Fragment, Source, fragment};

impl Attention {
    /// What every kernel needs to find queries, keys and values, and to store outputs.
    pub(in crate::kernels) fn add_to(self, source: Source) -> Source {
        let source = source
            .with_span()
            .with(fragment!("attention/params.wgsl"))
            .with(self.reach.fragment())
            .constant("HEAD_DIM", self.head_dim)
            .constant("VALUE_DIM", self.values.dim())
            .constant("QUERIES", self.queries);
        let source = match self.has_cache() {
            true => self.values_added(
                source.with(self.cache.slots.fragment()).with(self.cache.format.key_fragment()),
            ),
            false => source,
        };
        let source = if self.softcap {
            source.with(fragment!("softcap/tanh.wgsl")).with(fragment!("common/safe_tanh.wgsl"))
        } else {
            source.with(fragment!("softcap/none.wgsl"))
        };
        let source = self.score_bias.add_to(source);
        let source = self.height_added(source.with(self.keys()));
        let source = match self.phase {
            Phase::Prefill => source.with(fragment!("output/whole.wgsl")).with(sinks_fragment(self.sinks)),
            Phase::Decode => source.with(fragment!("output/split.wgsl")),
        };
        match self.reach {
            Reach::Encoder => source.constant("KEY_HEADS", if self.v_is_k { 1 } else { 2 }),
            Reach::Window | Reach::Chunk | Reach::Both => source,
        }
    }

    /// Adds what says how many queries a workgroup takes; steps over a cache say so themselves.
    fn height_added(self, source: Source) -> Source {
        match (self.phase, self.reach) {
            (Phase::Prefill, _) => source
                .with(fragment!("height/spread.wgsl"))
                .constant("SPREAD", SPREAD)
                .constant("MANY_KEYS", MANY_KEYS),
            (Phase::Decode, Reach::Encoder) => source.with(fragment!("height/full.wgsl")),
            (Phase::Decode, Reach::Window | Reach::Chunk | Reach::Both) => source,
        }
    }

    /// Where keys are.
    fn keys(self) -> Fragment {
        match (self.reach, self.phase) {
            (Reach::Both, _) => fragment!("keys/own.wgsl"),
            (Reach::Encoder, _) => fragment!("keys/encoder.wgsl"),
            (Reach::Window | Reach::Chunk, Phase::Prefill) => fragment!("keys/chunk.wgsl"),
            (Reach::Window | Reach::Chunk, Phase::Decode) => fragment!("keys/cache.wgsl"),
        }
    }

    /// Adds what finds values beside keys.
    fn values_added(self, source: Source) -> Source {
        let source = match self.values {
            Values::Own(_) => source.with(self.cache.format.value_fragment()),
            Values::InKeys(_) => source,
        };
        source.with(match (self.values, self.phase) {
            (Values::InKeys(_), _) => fragment!("values/in_keys.wgsl"),
            (Values::Own(_), Phase::Prefill) => fragment!("values/chunk.wgsl"),
            (Values::Own(_), Phase::Decode) => fragment!("values/cache.wgsl"),
        })
    }
}
