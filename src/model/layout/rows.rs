//! Where the rows of a fused matrix come from.

use crate::model::slot::Slot;

/// Where the rows of a fused matrix come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Matrices below each other: Q, K, V.
    Stacked(Vec<(Slot, u32)>),
    /// Rows in turn from two matrices: gate and up, so that the two of an output are neighbours.
    Paired(Slot, Slot),
}

impl Rows {
    /// The tensor that row `row` comes from, and its row there.
    pub fn locate(&self, row: u32) -> (Slot, u32) {
        match self {
            Self::Stacked(parts) => {
                let mut row = row;
                for (slot, rows) in parts {
                    if row < *rows {
                        return (*slot, row);
                    }
                    row -= rows;
                }
                // Only a row beyond the matrix gets here; it belongs to no tensor that could hold it.
                (parts[parts.len() - 1].0, u32::MAX)
            }
            Self::Paired(even, odd) => (if row.is_multiple_of(2) { *even } else { *odd }, row / 2),
        }
    }

    /// The tensors that rows come from.
    pub fn slots(&self) -> Vec<Slot> {
        match self {
            Self::Stacked(parts) => parts.iter().map(|(slot, _)| *slot).collect(),
            Self::Paired(even, odd) => vec![*even, *odd],
        }
    }

    /// Rows of the tensor a slot names.
    pub fn rows_of(&self, slot: Slot, total: u32) -> u32 {
        match self {
            Self::Stacked(parts) => {
                let found = parts.iter().find(|(part, _)| part.role == slot.role);
                found.map_or(total, |(_, rows)| *rows)
            }
            Self::Paired(..) => total / 2,
        }
    }
}
