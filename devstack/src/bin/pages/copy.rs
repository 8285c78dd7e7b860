//! A folder of a journal that is removed afterwards.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mana_persona_runner::journal::FILE_NAME;

/// A folder on disk, with a copy of a journal or without one.
#[derive(Debug)]
pub(crate) struct Copy(PathBuf);

impl Copy {
    /// Copies the journal in `of`, whose files must not be open anywhere else. Without `of` there is no journal yet.
    ///
    /// # Errors
    /// When there is no journal, or it cannot be copied.
    pub(crate) fn new(of: Option<&Path>) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("mana-pages-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(&folder)?;
        let copy = Self(folder);
        if let Some(of) = of {
            for file in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")] {
                let from = of.join(&file);
                if file == FILE_NAME || from.exists() {
                    fs::copy(from, copy.0.join(file))?;
                }
            }
        }
        Ok(copy)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Size of the write-ahead log, in bytes.
    pub(crate) fn wal(&self) -> u64 {
        let wal = fs::metadata(self.0.join(format!("{FILE_NAME}-wal")));
        wal.map_or(0, |wal| wal.len())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
