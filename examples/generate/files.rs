//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use wattle::{Error, Result};

/// A file that is called by its name only once it is complete, and removed otherwise.
pub struct Draft<'a> {
    path: &'a Path,
    draft: PathBuf,
    file: BufWriter<File>,
}

impl<'a> Draft<'a> {
    pub fn create(path: &'a Path) -> Result<Self> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".part");
        let draft = PathBuf::from(draft);
        let file = File::create(&draft).map_err(|source| io_error(&draft, source))?;
        Ok(Self { path, draft, file: BufWriter::new(file) })
    }

    pub fn finish(mut self, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
        let filled = fill(&mut self.file).and_then(|()| self.file.flush());
        filled.and_then(|()| fs::rename(&self.draft, self.path)).map_err(|source| io_error(self.path, source))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Gone already where the file was finished; where it cannot be removed there is nobody left to tell.
        let _ = fs::remove_file(&self.draft);
    }
}

pub fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.display().to_string(), source }
}
