//! Everything between files and a checked model description: no GPU is touched.
#![cfg(feature = "files")]

mod checkpoint;
mod damage;
mod family;
mod golden;
mod published;
mod refusal;
mod support;
