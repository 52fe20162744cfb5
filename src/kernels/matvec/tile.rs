//! How the work of a matvec is divided.

use super::Matvec;
use crate::Result;
use crate::kernel::Kernel;
use crate::kernel::check::require;

/// How a [`Matvec`] is divided among lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "model", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct VecTile {
    /// Lanes of a workgroup, a power of two.
    pub lanes: u32,
    /// Lanes that share the inputs of an output: 1, or all of the workgroup.
    pub team: u32,
    /// Outputs of a team, a multiple of 4.
    pub outputs: u32,
    /// Rows of a team, 1, 4 or 8: a weight is decoded once for all of them. 1 where inputs are normed on
    /// the way in, and where rows are in no tiles.
    pub rows: u32,
}

impl VecTile {
    /// Few teams of many lanes: neighbouring lanes read neighbouring weights.
    pub fn shared(in_features: u32, rows: u32) -> Self {
        let lanes = in_features.div_ceil(16).next_power_of_two().clamp(32, 256);
        Self { lanes, team: lanes, outputs: 4, rows }
    }

    pub(super) fn teams(self) -> u64 {
        u64::from(self.lanes / self.team)
    }

    /// Shapes that the tests know.
    pub(super) fn variants() -> impl Iterator<Item = Self> + Clone {
        let shared = [32, 128, 256].map(|lanes| Self { lanes, team: lanes, outputs: 4, rows: 1 });
        let more =
            [(8, 1), (4, 4), (4, 8)].map(|(outputs, rows)| Self { lanes: 64, team: 64, outputs, rows });
        let alone = [(32, 4, 1), (32, 8, 1), (32, 4, 4), (32, 4, 8), (2, 4, 4)]
            .map(|(lanes, outputs, rows)| Self { lanes, team: 1, outputs, rows });
        shared.into_iter().chain(more).chain(alone)
    }

    pub(crate) fn check(self, one_row: bool) -> Result<()> {
        let Self { lanes, team, outputs, rows } = self;
        let whole = lanes.is_power_of_two() && lanes <= 256;
        require(Matvec::NAME, "lanes", whole, "a power of two up to 256", lanes)?;
        require(Matvec::NAME, "team", team == 1 || team == lanes, format_args!("1 or {lanes}"), team)?;
        let fours = (4..=32).contains(&outputs) && outputs.is_multiple_of(4);
        require(Matvec::NAME, "outputs", fours, "a multiple of 4 up to 32", outputs)?;
        let blocked = rows == 1 || ([4, 8].contains(&rows) && !one_row);
        require(Matvec::NAME, "rows", blocked, if one_row { "1" } else { "1, 4 or 8" }, rows)
    }
}
