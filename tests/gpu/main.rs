//! Every kernel, and whole passes, on a real adapter, against the CPU reference and golden data. Software Vulkan is enough.
//!
//! `WATTLE_ADAPTER` chooses an adapter by a part of its name. `WATTLE_TEST_ALL=1` runs every variant of every kernel
//! instead of a selection that covers each choice, and each pair of choices. `WATTLE_SELECTION` numbers the
//! selection: another number, other variants, and above 0 fewer. `WATTLE_SUBGROUPS=1` leaves out variants that do without subgroups.
//! `WATTLE_VARIANTS_DIR` names a directory that gets a list of the variants that ran.

#![cfg(feature = "files")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what tests share is no library"
)]

#[path = "../support/assignment.rs"]
mod assignment;
#[path = "../support/expected.rs"]
mod expected;
#[path = "../support/fill.rs"]
mod fill;
#[path = "../support/mod.rs"]
mod support;

// What `fill` finds beside it in benches, too.
use support::random;

mod attention_case;
mod bound;
mod device;
mod expert_plan;
mod harness;
mod keys;
mod linear;
mod linear_golden;
mod select;
mod tile_rows;
mod transposed;

mod altup;
mod attention;
mod attention_coop;
mod attention_merge;
mod balances;
mod drops;
mod embed;
mod expert_pipeline;
mod integers;
mod kv_write;
mod latent_heads;
mod matmul;
mod matmul_coop;
mod matvec;
mod moe;
mod moe_auction;
mod moe_combine;
mod moe_count;
mod moe_expert_choice;
mod moe_list;
mod moe_lookup;
mod moe_place;
mod moe_priority;
mod moe_route;
mod moe_scan;
mod moe_scores;
mod moe_sinkhorn;
mod norm;
mod quantize;
mod rope;
mod sample;
mod sample_best;
mod sample_pick;
mod session;
mod shapes;
mod slice;
mod sparse_glu;
mod stream_add;
mod stream_match;
mod stream_take;
mod verify;
