//! `shaders/matrix`: the cooperative matrices that a device multiplies.

use crate::gpu::Capabilities;
use crate::shader::{Fragment, Source, fragment};

/// The size of cooperative matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatrixSize {
    /// 8 by 8.
    Eight,
    /// 16 by 16.
    Sixteen,
}

impl MatrixSize {
    /// Both sizes.
    pub const ALL: [Self; 2] = [Self::Eight, Self::Sixteen];

    /// The larger size that a device has.
    pub fn of(capabilities: &Capabilities) -> Option<Self> {
        let has = |size: &Self| capabilities.has(size.fragment().needs);
        Self::ALL.into_iter().rev().find(has)
    }

    /// Rows of a matrix, and columns.
    pub const fn side(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }

    /// Lanes that a subgroup has at most where [`Capabilities`] report these. Kernels have so many lanes that there is a subgroup
    /// for each part of their work.
    pub const fn widest_subgroup(self) -> u32 {
        match self {
            Self::Eight => 32,
            Self::Sixteen => 64,
        }
    }

    fn fragment(self) -> Fragment {
        match self {
            Self::Eight => fragment!("matrix/eight.wgsl", f16, subgroups, matrices_8),
            Self::Sixteen => fragment!("matrix/sixteen.wgsl", f16, subgroups, matrices_16),
        }
    }

    /// Adds its fragments, entry point included.
    pub(crate) fn add_to(self, source: Source) -> Source {
        source
            .with(self.fragment())
            .with(fragment!("matrix/row_scale.wgsl"))
            .with(fragment!("entry/subgroup.wgsl"))
    }
}
