//! Tables of places: which of a group's matrices is each expert's, one for each different grouping of a model.

use super::ForwardPass;
use crate::model::layout::{ExpertGroup, Layout, OpLayout};
use crate::schedule::TensorId;

/// The names of a layout's tables with their contents, `[E]`, in order of first use.
pub fn expert_places(layout: &Layout) -> Vec<(String, Vec<u32>)> {
    let mut tables: Vec<(String, Vec<u32>)> = Vec::new();
    for layer in layout.sublayers() {
        let OpLayout::Experts(experts) = &layer.op else { continue };
        let groups = [&experts.into, &experts.down].into_iter().flat_map(|stack| stack.groups());
        for places in groups.filter_map(|group| group.places(experts.config.count)) {
            if !tables.iter().any(|(_, known)| *known == places) {
                tables.push((format!("expert_places.{}", tables.len()), places));
            }
        }
    }
    tables
}

impl ForwardPass<'_> {
    /// The table of a group; `None` for one of all experts.
    pub(super) fn places(&mut self, group: &ExpertGroup, count: u32) -> Option<TensorId> {
        let places = group.places(count)?;
        let (name, _) = self.expert_places.iter().find(|(_, known)| *known == places)?;
        Some(self.schedule.named(name, u64::from(count) * 4))
    }
}
