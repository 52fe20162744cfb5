//! The headers of safetensors files, and the index that joins several.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::reader::{FileReader, exists, read, read_whole};
use super::tensor::StoredType;
use crate::{Error, Result};

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";
/// Bytes of the header's length, which comes first.
const LENGTH_BYTES: u64 = 8;

/// Where a tensor is, and what it is.
pub(super) struct Entry {
    pub file: String,
    /// Its bytes, counted from the start of the file.
    pub range: Range<u64>,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

/// The tensors by name, as headers and index give them.
pub(super) type Entries = BTreeMap<String, Entry>;

/// The part of an index that matters: the file of every tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads the header of the one file, or of every file that the index names.
pub(super) fn read_all(reader: &dyn FileReader) -> Result<Entries> {
    if exists(reader, SINGLE_FILE)? {
        return read_header(reader, SINGLE_FILE);
    }
    if exists(reader, INDEX_FILE)? {
        return read_shards(reader);
    }
    let source = io::Error::new(io::ErrorKind::NotFound, format!("no such file, and no {INDEX_FILE}"));
    Err(Error::Io { path: reader.path(SINGLE_FILE), source })
}

fn read_shards(reader: &dyn FileReader) -> Result<Entries> {
    let bad_index = |message: String| Error::format(reader.path(INDEX_FILE), message);
    let json = read_whole(reader, INDEX_FILE)?;
    let Index { weight_map } = serde_json::from_slice(&json).map_err(|e| bad_index(e.to_string()))?;

    let mut shards = BTreeMap::new();
    for shard in weight_map.values().collect::<BTreeSet<_>>() {
        // An index must not reach for files outside its directory.
        if shard.contains(['/', '\\']) {
            return Err(bad_index(format!("'{shard}' is not a plain file name")));
        }
        if !exists(reader, shard)? {
            return Err(bad_index(format!("the file '{shard}' that it names is missing")));
        }
        shards.insert(shard, read_header(reader, shard)?);
    }
    let find = |(name, shard): (&String, &String)| {
        let entry = shards.get_mut(shard).and_then(|entries| entries.remove(name));
        let entry = entry.ok_or_else(|| bad_index(format!("tensor '{name}' is not in '{shard}'")))?;
        Ok((name.clone(), entry))
    };
    weight_map.iter().map(find).collect()
}

fn read_header(reader: &dyn FileReader, file: &str) -> Result<Entries> {
    let damaged = |message: String| Error::format(reader.path(file), message);
    let file_bytes = reader.file_len(file).map_err(|source| Error::Io { path: reader.path(file), source })?;
    if file_bytes < LENGTH_BYTES {
        return Err(damaged(format!("{file_bytes} bytes are too few for a safetensors file")));
    }
    let length = read(reader, file, 0..LENGTH_BYTES)?;
    let header_bytes = length.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if header_bytes > file_bytes - LENGTH_BYTES {
        let message = format!("a header of {header_bytes} bytes does not fit into a file of {file_bytes}");
        return Err(damaged(message));
    }
    let data_start = LENGTH_BYTES + header_bytes;
    let header = read(reader, file, LENGTH_BYTES..data_start)?;
    // Checks on the way that the tensors cover the data without gap or overlap, each as its shape and type say.
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| damaged(format!("header: {e}")))?;
    let data_bytes = metadata.data_len() as u64;
    if data_bytes != file_bytes - data_start {
        let found = file_bytes - data_start;
        return Err(damaged(format!("the tensors take {data_bytes} bytes, {found} follow the header")));
    }
    let entry = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (start, end) = info.data_offsets;
        let range = data_start + start as u64..data_start + end as u64;
        (name, Entry { file: file.to_owned(), range, dtype: info.dtype, shape: info.shape.clone() })
    };
    Ok(metadata.tensors().into_iter().map(entry).collect())
}

impl Entry {
    /// Bytes the tensor takes in its file.
    pub fn size_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Its element type, if that is one we read and the shape is as expected.
    pub fn stored_type(&self, name: &str, expected_shape: &[usize]) -> Result<StoredType> {
        let mismatch = |expected, found| Error::TensorMismatch { name: name.to_owned(), expected, found };
        if self.shape != expected_shape {
            let (expected, found) = (format!("shape {expected_shape:?}"), format!("{:?}", self.shape));
            return Err(mismatch(expected, found));
        }
        match self.dtype {
            Dtype::F32 => Ok(StoredType::F32),
            Dtype::F16 => Ok(StoredType::F16),
            Dtype::BF16 => Ok(StoredType::Bf16),
            other => Err(mismatch("elements of type F32, F16 or BF16".to_owned(), other.to_string())),
        }
    }
}
