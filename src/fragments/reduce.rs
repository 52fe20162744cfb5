//! `shaders/reduce`, `shaders/entry`: how lanes add.

use crate::gpu::Capabilities;
use crate::shader::{Source, fragment};

/// How a workgroup adds over its lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduce {
    /// A tree in workgroup memory.
    Workgroup,
    /// Subgroup additions first.
    Subgroup,
}

impl Reduce {
    /// Both ways.
    pub const ALL: [Self; 2] = [Self::Workgroup, Self::Subgroup];

    /// The better way a device has.
    pub fn of(capabilities: &Capabilities) -> Self {
        if capabilities.subgroups { Self::Subgroup } else { Self::Workgroup }
    }

    /// Adds its fragments, entry point included.
    pub(crate) fn add_to(self, source: Source) -> Source {
        match self {
            Self::Workgroup => {
                source.with(fragment!("reduce/workgroup.wgsl")).with(fragment!("entry/plain.wgsl"))
            }
            Self::Subgroup => {
                source.with(fragment!("reduce/subgroup.wgsl")).with(fragment!("entry/subgroup.wgsl"))
            }
        }
    }
}
