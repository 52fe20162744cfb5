//! What a workgroup of `attention` takes, and how its lanes share it. `shaders/attention.wgsl` says what each does.

use super::Steps;
use crate::energy::OpClass;
use crate::shader::Source;

/// Queries of a key/value head that walk the keys together, and the lanes that compute them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tile {
    queries: u32,
    value_dim: u32,
}

/// Keys that a workgroup looks at at a time, at most: what is a multiple of these is one of fewer.
pub(super) const MAX_KEYS: u32 = 64;

/// Scores that a workgroup computes at a time, at most: half of the 16 KiB that every device has.
const SCORES: u32 = 2048;

/// Sums of outputs that a lane keeps at most, where there can be more lanes.
const SUMS: u32 = 64;

/// Fewest lanes, and most that every device has room for.
const MIN_LANES: u32 = 64;

/// Keys of a lane whose elements it keeps at most.
const MAX_SCORE_KEYS: u32 = 4;

const MAX_LANES: u32 = 256;

impl Tile {
    /// For so many queries, a power of two up to [`super::MAX_QUERIES`], and values so wide.
    pub(super) fn new(queries: u32, value_dim: u32) -> Self {
        Self { queries, value_dim }
    }

    /// As few lanes as have not too many sums each.
    fn lanes(self) -> u32 {
        let sums = |lanes: u32| self.value_dim.div_ceil(lanes) * self.queries;
        let enough = |lanes: &u32| *lanes == MAX_LANES || sums(*lanes) <= SUMS;
        [MIN_LANES, 2 * MIN_LANES].into_iter().find(enough).unwrap_or(MAX_LANES)
    }

    /// Keys that a workgroup looks at at a time.
    fn keys(self) -> u32 {
        (SCORES / self.queries).min(MAX_KEYS)
    }

    /// Elements of keys and of queries that wait in workgroup memory, in fours. 16 of 64 queries and of their keys, with all scores,
    /// are within the 16 KiB that every device has; fewer queries leave room for 32, and for fewer barriers, more for 8.
    fn slice_quads(self, head_dim: u32) -> u32 {
        let most = match self.queries {
            0..=8 => 8,
            9..=64 => 4,
            _ => 2,
        };
        head_dim.div_ceil(4).min(most)
    }

    /// Keys of a lane that multiplies as many queries, or twice as many: squares read least for each product.
    fn score_keys(self) -> u32 {
        let scores = self.keys() * self.queries / self.lanes();
        (1 << (scores.ilog2() / 2)).min(MAX_SCORE_KEYS)
    }

    /// Lanes that have the elements of one query's output: each about as many elements as queries, for the same reason.
    fn value_lanes(self) -> u32 {
        let (lanes, queries) = (self.lanes(), self.queries);
        let square = (self.value_dim * lanes / queries).isqrt().max(1).next_power_of_two();
        let most = lanes.min(self.value_dim.next_power_of_two());
        square.min(most).max(lanes / queries)
    }

    /// Elements of a key that are multiplied, those that fill the last slice up included.
    fn key_width(self, head_dim: u32) -> u32 {
        head_dim.next_multiple_of(4 * self.slice_quads(head_dim))
    }

    /// Elements of a value that are multiplied, those of lanes to spare included.
    fn value_width(self) -> u32 {
        self.value_dim.next_multiple_of(self.value_lanes())
    }

    /// What a workgroup computes at a time: of a tile that is not full, not what it lacks.
    pub(super) fn steps(self, head_dim: u32) -> Steps {
        let [key_width, value_width] = [self.key_width(head_dim), self.value_width()].map(u64::from);
        Steps { keys: self.keys(), key_width, value_width, whole: false, class: OpClass::F32Fma }
    }

    /// Tells the shader.
    pub(super) fn add_to(self, source: Source, head_dim: u32) -> Source {
        source
            .constant("KEYS", self.keys())
            .constant("WORKGROUP_SIZE", self.lanes())
            .constant("SLICE_QUADS", self.slice_quads(head_dim))
            .constant("SCORE_KEYS", self.score_keys())
            .constant("VALUE_LANES", self.value_lanes())
    }
}
