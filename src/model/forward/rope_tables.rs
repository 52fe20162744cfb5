//! Tables of cosines and sines: one for each different rotation of a model.

use super::ForwardPass;
use crate::model::config::{ModelConfig, Op, Rope};
use crate::schedule::TensorId;

/// The names of a model's tables with their rotations, in order of first use.
pub fn rope_tables(config: &ModelConfig) -> Vec<(String, Rope)> {
    let mut tables: Vec<(String, Rope)> = Vec::new();
    for (_, op) in config.ops() {
        let rope = match op {
            Op::Attention(attention) => attention.rope,
            Op::LatentAttention(attention) => Some(attention.rope),
            _ => None,
        };
        if let Some(rope) = rope
            && !tables.iter().any(|(_, known)| same_angles(*known, rope))
        {
            tables.push((format!("rope_table.{}", tables.len()), rope));
        }
    }
    tables
}

/// Whether two rotations share a table: the layout of pairs does not matter to it.
fn same_angles(a: Rope, b: Rope) -> bool {
    (a.theta, a.rotary_dim, a.scaling) == (b.theta, b.rotary_dim, b.scaling)
}

impl ForwardPass<'_> {
    /// The table of an attention's rotation; one that nothing reads where heads are not rotated.
    pub(super) fn rope_table(&mut self, rope: Option<Rope>) -> TensorId {
        let is_its_own = |known: Rope| rope.is_some_and(|rope| same_angles(known, rope));
        match self.rope_tables.iter().find(|(_, known)| is_its_own(*known)) {
            Some((name, rope)) => {
                let context = self.options.context;
                // An encoder's input may be longer than what its decoder says.
                let of_input = self.config.encoder.as_ref().map_or(0, |_| self.options.encoder_tokens);
                let bytes = u64::from(context.max(of_input)) * u64::from(rope.rotary_dim / 2) * 8;
                self.schedule.named(name, bytes)
            }
            None => self.schedule.named("rope_table.none", 8),
        }
    }
}
