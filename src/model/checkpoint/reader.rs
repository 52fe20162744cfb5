//! Where the bytes of a checkpoint come from.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use crate::{Error, Result};

/// Files that can be read in parts: a directory, an archive, a browser's storage.
pub trait FileReader: wgpu::WasmNotSendSync {
    /// Length of a file in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such file, anything else if its length cannot be told.
    fn file_len(&self, file: &str) -> io::Result<u64>;

    /// The bytes `range` of a file, exactly as many as asked for.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before the range does, or whatever stopped the read.
    fn read(&self, file: &str, range: Range<u64>) -> io::Result<Cow<'_, [u8]>>;

    /// How messages call a file.
    fn path(&self, file: &str) -> String {
        file.to_owned()
    }
}

/// Whether there is such a file.
pub(super) fn exists(reader: &dyn FileReader, file: &str) -> Result<bool> {
    match reader.file_len(file) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Io { path: reader.path(file), source }),
    }
}

/// All bytes of a file.
pub(crate) fn read_whole<'a>(reader: &'a dyn FileReader, file: &str) -> Result<Cow<'a, [u8]>> {
    let len = reader.file_len(file).map_err(|source| Error::Io { path: reader.path(file), source })?;
    read(reader, file, 0..len)
}

/// The bytes `range` of a file, and not one less, whatever the reader does.
pub(super) fn read<'a>(reader: &'a dyn FileReader, file: &str, range: Range<u64>) -> Result<Cow<'a, [u8]>> {
    let wanted = range.end - range.start;
    let bytes = reader.read(file, range).map_err(|source| Error::Io { path: reader.path(file), source })?;
    if bytes.len() as u64 != wanted {
        let message = format!("the reader gave {} bytes where {wanted} were asked for", bytes.len());
        return Err(Error::format(reader.path(file), message));
    }
    Ok(bytes)
}
