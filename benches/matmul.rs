//! Many rows times a weight matrix: what reading a prompt is made of.
//!
//! `cargo bench --bench matmul -- [--all] [--weights f32,int4] [--paths float,integer,matrix] [--shapes 512x4096x4096]`

#[path = "support/linear.rs"]
mod linear;
mod support;

fn main() -> std::process::ExitCode {
    support::exit(linear::run("matmul", 9..=u32::MAX, 1))
}
