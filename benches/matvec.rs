//! A row or a few times a weight matrix: what decoding is made of.
//!
//! `cargo bench --bench matvec -- [--all] [--weights f32,int4] [--paths float,integer] [--shapes 1x4096x4096]`

#[path = "support/linear.rs"]
mod linear;
mod support;

/// Products of a run: as many as a pass of a model has, each independent of the others.
const SUSTAINED: u32 = 64;

fn main() -> std::process::ExitCode {
    support::exit(linear::run("matvec", 1..=8, SUSTAINED))
}
