//! What families call attention's tensors, and how they are stored.

use super::part;
use super::stored::Stored;
use crate::model::slot::{Role, Slot};

/// What a family calls the parts of attention, and how they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttentionNames {
    /// Where they are.
    pub module: &'static str,
    /// The output projection.
    pub out: &'static str,
    /// The norms of Q and K.
    pub norms: [&'static str; 2],
    /// Where those have weights for each head, `[H, h]`: `h`.
    pub norm_cols: Option<u32>,
    /// Where Q, K and V are in one tensor; else each has one of its own.
    pub fused: Option<FusedQkv>,
}

/// Q, K and V in one tensor `[(H + 2G) h, d]`: the query heads that share a key/value head, then that key head, then its value
/// head, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FusedQkv {
    /// The tensor.
    pub name: &'static str,
    /// Query heads, `H`.
    pub heads: u32,
    /// Key/value heads, `G`.
    pub kv_heads: u32,
    /// Width of a head, `h`.
    pub head_dim: u32,
}

impl AttentionNames {
    /// Llama's, and those of most since.
    pub const LLAMA: Self = Self {
        module: "self_attn",
        out: "o_proj",
        norms: ["q_norm", "k_norm"],
        norm_cols: None,
        fused: None,
    };

    /// A norm of Q or K.
    pub(super) fn norm(self, slot: Slot, shape: &[usize]) -> Stored {
        let name = self.norms[usize::from(slot.role == Role::KNorm)];
        let whole = Stored::whole(format!("{}.{name}.{}", self.module, part(slot.part)), shape);
        match (self.norm_cols, shape) {
            (Some(cols), [all]) => Stored { shape: vec![all / cols as usize, cols as usize], ..whole },
            _ => whole,
        }
    }
}

impl FusedQkv {
    /// The rows of Q, K or V, of the weight or the bias.
    pub(super) fn locate(self, slot: Slot, shape: &[usize]) -> Stored {
        let [heads, kv_heads, h] = [self.heads, self.kv_heads, self.head_dim].map(|n| n as usize);
        let shared = heads / kv_heads;
        let (first_head, of_block) = match slot.role {
            Role::Q => (0, shared),
            Role::K => (shared, 1),
            _ => (shared + 1, 1),
        };
        let cols = shape.get(1).copied().unwrap_or(1);
        let rows = (heads + 2 * kv_heads) * h;
        let whole = [&[rows], shape.get(1..).unwrap_or(&[])].concat();
        Stored {
            size: [of_block * kv_heads * h, cols],
            first: (first_head * h * cols) as u64,
            row_step: cols,
            block_rows: of_block * h,
            block_step: (shared + 2) * h * cols,
            ..Stored::whole(format!("{}.{}", self.name, part(slot.part)), &whole)
        }
    }
}
