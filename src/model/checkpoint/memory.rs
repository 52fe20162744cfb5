//! Files in memory, and files mapped into it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::reader::FileReader;

/// Files that are in memory as a whole, or appear to be: read, or mapped.
pub(crate) struct FilesInMemory<B> {
    /// What messages put before a file's name: nothing, or a directory with its separator.
    prefix: String,
    files: BTreeMap<String, B>,
}

impl FilesInMemory<Vec<u8>> {
    pub fn new(files: Vec<(String, Vec<u8>)>) -> Self {
        Self { prefix: String::new(), files: files.into_iter().collect() }
    }
}

impl<B: AsRef<[u8]>> FilesInMemory<B> {
    fn file(&self, file: &str) -> io::Result<&[u8]> {
        match self.files.get(file) {
            Some(bytes) => Ok(bytes.as_ref()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
        }
    }
}

impl<B: AsRef<[u8]> + wgpu::WasmNotSendSync> FileReader for FilesInMemory<B> {
    fn file_len(&self, file: &str) -> io::Result<u64> {
        Ok(self.file(file)?.len() as u64)
    }

    fn read(&self, file: &str, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        let bytes = self.file(file)?;
        let part = match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) => bytes.get(start..end),
            _ => None,
        };
        part.map(Cow::Borrowed).ok_or_else(|| {
            let message = format!("bytes {range:?} of a file of {} bytes", bytes.len());
            io::Error::new(io::ErrorKind::UnexpectedEof, message)
        })
    }

    fn path(&self, file: &str) -> String {
        format!("{}{file}", self.prefix)
    }
}

#[cfg(feature = "files")]
mod mapped {
    use std::fs::{self, File};
    use std::path::Path;

    use memmap2::Mmap;

    use super::{BTreeMap, FilesInMemory, io};
    use crate::{Error, Result};

    impl FilesInMemory<Mmap> {
        /// Maps every `*.json` and `*.safetensors` file of `dir`: bytes come from disk when they are used, and
        /// are borrowed rather than copied.
        ///
        /// # Errors
        /// [`Error::Io`] with the path that could not be opened or mapped.
        pub fn map(dir: &Path) -> Result<Self> {
            let at = |path: &Path, source| Error::Io { path: path.display().to_string(), source };
            let mut files = BTreeMap::new();
            for entry in fs::read_dir(dir).map_err(|e| at(dir, e))? {
                let path = entry.map_err(|e| at(dir, e))?.path();
                let wanted = path.extension().is_some_and(|ext| ext == "json" || ext == "safetensors");
                // A link that leads nowhere is no file; whoever needs it will say that it is missing.
                if !wanted || !path.is_file() {
                    continue;
                }
                if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                    files.insert(name.to_owned(), map_file(&path).map_err(|e| at(&path, e))?);
                }
            }
            Ok(Self { prefix: dir.join("").display().to_string(), files })
        }
    }

    fn map_file(path: &Path) -> io::Result<Mmap> {
        let file = File::open(path)?;
        // SAFETY: the mapping is read-only and only ever read as bytes, for which every bit pattern is valid. That
        // nobody changes the file meanwhile cannot be enforced here; the public functions ask for it.
        unsafe { Mmap::map(&file) }
    }
}
