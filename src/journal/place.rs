//! The journal's place: whether its files are still the ones that were opened, and what room there is
//! beside them.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{sync::Mutex, task::spawn_blocking, time::timeout};

use super::{Journal, JournalError, LIMIT, Result};

/// Where a journal lies, and what the system knows its files by.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    files: [(PathBuf, FileId); 2],
    /// Held for as long as the process lives; the system frees it even after kill -9.
    lock: File,
    is_lost: AtomicBool,
    /// Held while somebody looks: one thread that waits for a disk that hangs is enough.
    looking: Arc<Mutex<()>>,
}

/// Device and inode.
type FileId = (u64, u64);

impl Place {
    /// The place of the journal in these two files, the second of which is locked.
    pub(super) fn of(folder: &Path, files: [PathBuf; 2], lock: File) -> io::Result<Self> {
        let [journal, locked] = files;
        let files = [(journal.clone(), id_of(&journal)?), (locked.clone(), id_of(&locked)?)];
        Ok(Self {
            folder: folder.into(),
            files,
            lock,
            is_lost: AtomicBool::default(),
            looking: Arc::default(),
        })
    }

    pub(super) fn unlock(&self) {
        // The end of the process would do the same.
        let _ = self.lock.unlock();
    }

    /// Why what is written there is of no use, if so.
    pub(super) fn trouble(&self) -> Option<JournalError> {
        self.is_lost.load(Relaxed).then(|| JournalError::Lost { folder: self.folder.clone() })
    }

    /// Looks whether the files are where they were. Returns the bytes that may still be written.
    fn look(&self) -> io::Result<u64> {
        let is_there = |(path, id): &(PathBuf, FileId)| id_of(path).is_ok_and(|now| now == *id);
        let was_lost = self.is_lost.swap(!self.files.iter().all(is_there), Relaxed);
        match self.trouble() {
            Some(error) if !was_lost => tracing::error!("{error}"),
            None if was_lost => tracing::warn!("the journal's files are back"),
            _ => {}
        }
        let room = rustix::fs::statvfs(&self.folder)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }
}

impl Journal {
    /// Looks whether its files are still the ones that were opened. Returns the bytes that may still be
    /// written beside them, `None` for a journal that is in no file.
    ///
    /// # Errors
    /// When they are not: somebody has removed or replaced them.
    #[expect(clippy::disallowed_methods, reason = "a look at the disk may hang")]
    pub async fn check_place(&self) -> Result<Option<u64>> {
        let Some(place) = self.place.clone() else { return Ok(None) };
        let slow = || JournalError::Slow { attempted: "look after its files" };
        let look = async {
            // What another caller found may be older than this question.
            let looking = place.looking.clone().lock_owned().await;
            let place = place.clone();
            // A disk may take its time.
            let look = move || {
                let _looking = looking;
                place.look()
            };
            spawn_blocking(look).await
        };
        let looked = timeout(LIMIT, look).await.map_err(|_| slow())?.map_err(|_| slow())?;
        if let Some(error) = place.trouble() {
            return Err(error);
        }
        let refused =
            |source| JournalError::Folder { what: "folder", path: place.folder.clone(), source };
        looked.map(Some).map_err(refused)
    }
}

fn id_of(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|data| (data.dev(), data.ino()))
}
