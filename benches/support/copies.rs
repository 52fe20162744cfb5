//! How much memory a bench of products goes through.

use std::time::Duration;

use wattle::Gpu;
use wattle::fragments::Codec;
use wattle::kernel::Span;
use wattle::kernels::linear::LinearParams;
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;

use crate::support::products::{product, tuned};
use crate::support::roof::Roof;

/// Bytes of weights to go through: more than the last cache of a GPU, or of a CPU that plays one.
pub fn rotated(gpu: &Gpu) -> u64 {
    if gpu.capabilities().is_cpu { 16 << 20 } else { 512 << 20 }
}

/// How many copies of the weights to go through, so that none come from a cache, or a reason not to: a binding is too
/// small, or `runs` of them, with at least so many products each, are predicted to take longer than `longest`. Of the
/// memory that they fill, `1 / share`.
pub fn copies(
    gpu: &Gpu,
    roof: &Roof,
    format: WeightFormat,
    [rows, outputs, inputs]: [u32; 3],
    path: ProductPath,
    (runs, least, share, longest): (u32, u32, u32, Option<Duration>),
) -> Result<u32, String> {
    let params = LinearParams::dense(format, outputs, inputs);
    let (words, scales) = params.weight_bytes(Codec::of(format, gpu.capabilities()));
    let limit = gpu.capabilities().max_binding_bytes;
    if words > limit {
        return Err(format!("{words} bytes of weights, a binding has at most {limit}"));
    }
    let copies = u64::div_ceil(rotated(gpu), (words + scales) * u64::from(share)) as u32;
    let kernel = tuned(gpu, format, [rows, outputs, inputs], path);
    let work = product(gpu, format, params, kernel).work(&[Span::of_rows(rows)]);
    let predicted = runs * copies.max(least) * roof.time(&work, rows);
    match longest.is_some_and(|longest| predicted > longest) {
        true => Err(format!("predicted to take {:.0} s", predicted.as_secs_f64())),
        false => Ok(copies),
    }
}
