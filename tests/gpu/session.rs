//! Forward passes and sessions: models against golden outputs, recording, hosts, bad input, lost devices.

mod harness;

mod bad_input;
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
mod routes;
mod sequences;
mod sharding;
mod stranger;
mod sublayer_width;
mod verify;
mod widths;
