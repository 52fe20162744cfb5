//! Everything between files and a checked model description: no GPU is touched.
#![cfg(feature = "files")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may stop the test")]

#[path = "../support/expected.rs"]
mod expected;
#[path = "../support/models.rs"]
mod models;

mod checkpoint;
mod damage;
mod decoders;
mod deepseek;
mod expert_tensors;
mod experts;
mod family;
mod golden;
mod learned;
mod names;
mod published;
mod refusal;
mod support;
mod verify;
mod verify_options;
