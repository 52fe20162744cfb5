//! One row times a weight matrix: what decoding is made of.
//!
//! `cargo bench --bench matvec -- [--all] [--weights f32,int4]`

#[path = "support/linear.rs"]
mod linear;
mod support;

/// Squares, then the feed-forward networks of a model with a width of 4096.
const SHAPES: [linear::Shape; 4] = [[1, 1024, 1024], [1, 4096, 4096], [1, 14_336, 4096], [1, 4096, 14_336]];

fn main() -> std::process::ExitCode {
    support::exit(linear::run("matvec", &SHAPES))
}
