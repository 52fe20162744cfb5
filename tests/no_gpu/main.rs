//! Everything that needs no GPU: the reference against golden data, formats and files.
//!
//! `WATTLE_GOLDEN` may name a directory with all golden data; without it the tests read the part kept here.

#![cfg(feature = "model")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what tests share is no library"
)]

#[path = "../support/assignment.rs"]
mod assignment;
#[path = "../support/mod.rs"]
mod support;

mod activation;
mod attention;
mod block_search;
mod budgets;
mod capacity;
mod checks;
mod clip;
mod counts;
mod cross_attention;
mod embed;
mod experts;
mod forward;
mod golden_claimed;
mod headers;
mod kv_cache;
mod layer_inputs;
mod layout;
mod layout_string;
mod learned;
mod limits;
mod lints;
mod matmul;
mod memory;
mod models;
mod moe;
mod norm;
mod one_hot;
mod parameters;
mod plan;
mod presets;
mod quant;
mod quant_error;
mod quant_random;
mod rope;
mod router_metrics;
mod routing;
mod sample;
mod schedule;
mod shaders;
mod shapes;
mod softmax;
mod streams;
mod sublayer_width;
mod tuning;
mod work;
