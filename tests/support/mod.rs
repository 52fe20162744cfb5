//! What tests of every kind need.

pub mod compare;
pub mod drops;
pub mod frequency;
pub mod golden;
pub mod one_hot;
pub mod random;
