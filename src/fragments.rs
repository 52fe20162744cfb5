//! What kernels have in common: each choice here is a folder of `shaders/` with a fragment per arm.

mod activate;
mod cache_format;
mod cache_slots;
mod codec;
mod epilogue;
mod input_norm;
mod input_rows;
mod matrix_size;
mod members;
mod queue;
mod reach;
mod reduce;
mod route;
mod score_bias;
mod token_ids;

pub use activate::Activate;
pub use cache_format::CacheFormat;
pub use cache_slots::{CacheRows, CacheSlots};
pub use codec::Codec;
pub use epilogue::Epilogue;
pub(crate) use epilogue::residual_fragment;
pub use input_norm::InputNorm;
pub(crate) use input_rows::INPUT_BLOCK;
pub use input_rows::InputRows;
pub use matrix_size::MatrixSize;
pub use members::Members;
pub use queue::Queue;
pub(crate) use queue::add_capacity;
pub use reach::Reach;
pub use reduce::Reduce;
pub(crate) use route::add_logits;
pub use route::{
    ExpertWeight, FIRST_LATER_DRAW, GroupLimit, LARGEST_LOGIT, LaterRule, NestedGroups, RouteRule, Selection,
};
pub use score_bias::ScoreBias;
pub use token_ids::TokenIds;
