//! Forward passes and sessions on a real adapter. Software Vulkan is enough.
//!
//! `WATTLE_ADAPTER` chooses an adapter by a part of its name, `WATTLE_GOLDEN` a directory of golden models.
//! `WATTLE_TEST_ALL=1` checks every model in every format instead of a selection that covers each.

#![cfg(feature = "files")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what tests share is no library"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "what all tests share, not all of them use")]
mod support;

mod harness;

mod bad_input;
mod context;
mod generate;
mod host;
mod lost;
mod recording;
mod sharding;
mod stranger;
mod verify;
