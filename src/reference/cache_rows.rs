//! Rows of a cache as they are stored, in words, and as they are read again.

use half::f16;

use crate::fragments::CacheFormat;

/// Magnitude below which a row of codes is zero.
const LEAST: f32 = 1e-30;

/// Rows of `head_dim` elements as words.
pub fn pack(format: CacheFormat, rows: &[f32], head_dim: usize) -> Vec<u32> {
    rows.chunks(head_dim).flat_map(|row| pack_row(format, row)).collect()
}

fn pack_row(format: CacheFormat, row: &[f32]) -> Vec<u32> {
    let words = |bytes: Vec<u8>| -> Vec<u32> {
        let mut bytes = bytes;
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytemuck::pod_collect_to_vec(&bytes)
    };
    match format {
        CacheFormat::F32 => row.iter().map(|x| x.to_bits()).collect(),
        CacheFormat::F16 => {
            let half = |x: &f32| f16::from_f32(x.clamp(-65504.0, 65504.0)).to_le_bytes();
            words(row.iter().flat_map(half).collect())
        }
        CacheFormat::Int8 => {
            let most = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let (scale, inverse) = if most < LEAST { (0.0, 0.0) } else { (most / 127.0, 127.0 / most) };
            let codes = row.iter().map(|x| (x * inverse).round_ties_even() as i8 as u8).collect();
            [vec![scale.to_bits()], words(codes)].concat()
        }
    }
}

/// The elements that words stand for.
pub fn unpack(format: CacheFormat, words: &[u32], head_dim: usize) -> Vec<f32> {
    let row_words = format.row_words(head_dim as u32) as usize;
    words.chunks(row_words).flat_map(|row| unpack_row(format, row).into_iter().take(head_dim)).collect()
}

fn unpack_row(format: CacheFormat, row: &[u32]) -> Vec<f32> {
    match format {
        CacheFormat::F32 => row.iter().map(|word| f32::from_bits(*word)).collect(),
        CacheFormat::F16 => row
            .iter()
            .flat_map(|word| [*word as u16, (*word >> 16) as u16].map(|bits| f16::from_bits(bits).to_f32()))
            .collect(),
        CacheFormat::Int8 => {
            let scale = f32::from_bits(row[0]);
            row[1..]
                .iter()
                .flat_map(|word| word.to_le_bytes().map(|code| f32::from(code as i8) * scale))
                .collect()
        }
    }
}

/// What is read of rows that are stored.
pub fn stored(format: CacheFormat, rows: &[f32], head_dim: usize) -> Vec<f32> {
    unpack(format, &pack(format, rows, head_dim), head_dim)
}
