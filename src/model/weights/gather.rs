//! Experts gathered on the device from the shards of one stored matrix into another, sliced on the way.

use std::collections::HashMap;

use super::{slice, slice_of};
use crate::gpu::Gpu;
use crate::model::layout::Matrix;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// The tensors of `matrix`, from those of `parent`, which has the same experts and more in codes of 8 bits.
///
/// # Errors
/// [`Error::Memory`], [`Error::MissingTensor`]; those of running a kernel.
pub(in crate::model) async fn gather(
    gpu: &Gpu,
    matrix: &Matrix,
    parent: &Matrix,
    tensors: &HashMap<String, Tensor>,
) -> Result<Vec<(String, Tensor)>> {
    let mut gathered = Vec::new();
    for (shard, rows) in matrix.shards.iter().enumerate() {
        let names = matrix.shard_names(shard);
        for (part, (name, bytes)) in names.into_iter().zip(matrix.shard_bytes(rows)).enumerate() {
            if bytes == 0 {
                continue;
            }
            let to = Tensor::zeroed(gpu, &name, bytes).await?;
            for (place, expert) in matrix.shard_experts(shard).iter().enumerate() {
                let from = find(parent, *expert, part, tensors)?;
                let first_row = place as u32 * matrix.rows;
                match slice_of(matrix.format).filter(|_| part == WORDS) {
                    Some(of) => {
                        let codes = Tensor::zeroed(gpu, "parent", from.bytes).await?;
                        copy(gpu, &from, &codes, 0).await?;
                        slice(gpu, (of, matrix), matrix.rows, &codes, (&to, first_row)).await?;
                    }
                    None => copy(gpu, &from, &to, place as u64 * from.bytes).await?,
                }
            }
            gathered.push((name, to));
        }
    }
    Ok(gathered)
}

/// The first of a shard's tensors.
const WORDS: usize = 0;

/// A part of a tensor.
struct Stretch<'a> {
    tensor: &'a Tensor,
    first: u64,
    bytes: u64,
}

/// What a matrix stores of an expert: its words, its scales or its biases.
fn find<'a>(
    matrix: &Matrix,
    expert: u32,
    part: usize,
    tensors: &'a HashMap<String, Tensor>,
) -> Result<Stretch<'a>> {
    let missing = || Error::MissingTensor { name: format!("{}, expert {expert}", matrix.name) };
    let place_in = |shard| matrix.shard_experts(shard).iter().position(|other| *other == expert);
    let found = (0..matrix.shards.len()).find_map(|shard| Some((shard, place_in(shard)?)));
    let (shard, place) = found.ok_or_else(missing)?;
    let tensor = tensors.get(&matrix.shard_names(shard)[part]).ok_or_else(missing)?;
    let bytes = matrix.shard_bytes(&(0..matrix.rows))[part];
    Ok(Stretch { tensor, first: place as u64 * bytes, bytes })
}

async fn copy(gpu: &Gpu, from: &Stretch<'_>, to: &Tensor, first: u64) -> Result<()> {
    gpu.submit("gathering of experts", |encoder| {
        let Stretch { tensor, first: start, bytes } = *from;
        let [source, target] = [tensor.offset() + start, to.offset() + first];
        encoder.copy_buffer_to_buffer(tensor.buffer(), source, to.buffer(), target, bytes);
        Ok(())
    })
    .await
}
