//! Many rows times a weight matrix: what reading a prompt is made of.
//!
//! `cargo bench --bench matmul -- [--all] [--weights f32,int4]`

#[path = "support/linear.rs"]
mod linear;
mod support;

/// A chunk of a prompt through small squares, then through the feed-forward networks of a model with a width of 4096.
const SHAPES: [linear::Shape; 4] =
    [[64, 512, 512], [256, 1024, 1024], [256, 14_336, 4096], [256, 4096, 14_336]];

fn main() -> std::process::ExitCode {
    support::exit(linear::run("matmul", &SHAPES))
}
