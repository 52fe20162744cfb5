//! What tests of every kind need.

pub mod compare;
pub mod frequency;
pub mod golden;
pub mod random;
