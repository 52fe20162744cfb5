//! Forward passes and sessions: recording, hosts, bad input, lost devices.

pub mod harness;
pub mod routes;

mod bad_input;
mod batches;
mod context;
mod encoder;
mod experts;
mod fill;
mod generate;
mod host;
mod learned;
mod ledger;
mod lost;
mod memory;
mod recording;
mod sequences;
mod sharding;
mod stranger;
mod sublayer_width;
mod widths;
