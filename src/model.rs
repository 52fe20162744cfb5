//! Models: description, weights, forward pass.

pub mod checkpoint;
pub mod config;
pub mod family;
pub mod flops;
pub mod forward;
pub mod layout;
pub mod layout_string;
mod loaded;
pub mod naming;
pub mod parameters;
pub mod plan;
pub mod presets;
pub mod router_metrics;
pub mod session;
pub mod slot;
mod source;
mod weights;

pub use loaded::Model;
pub use session::{Feed, SequenceId, SequenceOptions, Session, SessionOptions};
pub use source::Source;
#[cfg(feature = "files")]
pub use source::open;
pub use weights::{LoadOptions, Progress};
