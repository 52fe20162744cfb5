//! Tables of cosines and sines: one for each different rotation of a model.

use super::ForwardPass;
use crate::model::config::{Attention, ModelConfig, Op, Rope};
use crate::schedule::TensorId;

/// The different rotations of a model, in order of first use; their index names their table.
pub fn ropes(config: &ModelConfig) -> Vec<Rope> {
    let mut ropes = Vec::new();
    for (_, _, layer) in config.sublayers() {
        if let Op::Attention(attention) = &layer.op
            && let Some(rope) = attention.rope
            && !ropes.iter().any(|known| same_angles(*known, rope))
        {
            ropes.push(rope);
        }
    }
    ropes
}

/// Whether two rotations share a table: the layout of pairs does not matter to it.
fn same_angles(a: Rope, b: Rope) -> bool {
    (a.theta, a.rotary_dim, a.scaling) == (b.theta, b.rotary_dim, b.scaling)
}

impl ForwardPass<'_> {
    /// The table of an attention's rotation; one that nothing reads where heads are not rotated.
    pub(super) fn rope_table(&mut self, attention: &Attention) -> TensorId {
        let found = attention.rope.and_then(|rope| {
            let n = self.ropes.iter().position(|known| same_angles(*known, rope))?;
            Some((format!("rope_table.{n}"), rope.rotary_dim))
        });
        match found {
            Some((name, rotary_dim)) => {
                let bytes = u64::from(self.options.context) * u64::from(rotary_dim / 2) * 8;
                self.schedule.named(name, bytes)
            }
            None => self.schedule.named("rope_table.none", 8),
        }
    }
}
