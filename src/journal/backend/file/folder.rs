//! The folder of the journal file: its creation, its lock, the check of the file names, and whether the opened files
//! are still in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::fs::OFlags;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use super::{Journal, JournalError, LIMIT, Result};

/// The name of the journal file in RUNNER_DATA_DIR.
pub const FILE_NAME: &str = "journal.db";
pub(super) const LOG_NAME: &str = "journal.db-wal";
const LOCK_NAME: &str = "journal.lock";
/// The names of all files that this module and SQLite create in the folder.
pub(super) const NAMES: [&str; 5] =
    [FILE_NAME, LOG_NAME, "journal.db-shm", "journal.db-journal", LOCK_NAME];
/// How long a daemon that is ending is waited for, so that a restart does not fail.
const ENDING: Duration = Duration::from_secs(2);

/// The folder of an open journal, and the identities of its files.
#[derive(Debug)]
pub(in crate::journal) struct JournalFolder {
    path: PathBuf,
    ids: [FileId; 2],
    /// Locked as long as the process runs. The system releases the lock, even after a kill -9.
    pub(in crate::journal) lock: File,
    is_lost: AtomicBool,
    /// Locked during a look at the files, so that a disk that hangs blocks one thread only.
    looking: Arc<Mutex<()>>,
}

/// The device and the inode of a file.
type FileId = (u64, u64);

impl JournalFolder {
    /// The folder with its lock, and the identities that its files have now.
    pub(super) fn of(folder: &Path, lock: File) -> Result<Self> {
        let ids = ids_of(folder).map_err(refused("file", &folder.join(FILE_NAME)))?;
        let (is_lost, looking) = Default::default();
        Ok(Self { path: folder.into(), ids, lock, is_lost, looking })
    }

    /// [`JournalError::Lost`] if the opened files were not in the folder at the last look.
    pub(in crate::journal) fn trouble(&self) -> Option<JournalError> {
        self.is_lost.load(Relaxed).then(|| JournalError::Lost(self.path.clone()))
    }

    /// Compares the files in the folder with those that were opened. Returns the free bytes of the disk.
    fn look(&self, _looking: OwnedMutexGuard<()>) -> io::Result<u64> {
        let is_there = ids_of(&self.path).is_ok_and(|now| now == self.ids);
        let was_lost = self.is_lost.swap(!is_there, Relaxed);
        match self.trouble() {
            Some(error) if !was_lost => tracing::error!("{error}"),
            None if was_lost => tracing::warn!("the journal's files are back"),
            _ => {}
        }
        let room = rustix::fs::statvfs(&self.path)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }
}

impl Journal {
    /// Checks that the opened files are still in the folder. Returns the free bytes of the disk; `None` for a journal
    /// without a folder of its own.
    ///
    /// # Errors
    /// If somebody has removed or replaced the files, or if the disk does not answer in time.
    #[expect(clippy::disallowed_methods, reason = "a disk may be slow to answer")]
    pub(crate) async fn check_folder(&self) -> Result<Option<u64>> {
        let Some(folder) = self.backend.folder.clone() else { return Ok(None) };
        let look = async {
            // Each caller looks itself: the result of another caller may be older than this call.
            let looking = folder.looking.clone().lock_owned().await;
            let folder = folder.clone();
            spawn_blocking(move || folder.look(looking)).await.ok()
        };
        let looked = timeout(LIMIT, look).await.ok().flatten();
        let looked = looked.ok_or(JournalError::Slow("look after its files", LIMIT))?;
        match folder.trouble() {
            Some(error) => Err(error),
            None => looked.map(Some).map_err(refused("folder", &folder.path)),
        }
    }
}

/// The identities of the journal file and of the lock file.
fn ids_of(folder: &Path) -> io::Result<[FileId; 2]> {
    let id = |name| fs::metadata(folder.join(name)).map(|data| (data.dev(), data.ino()));
    Ok([id(FILE_NAME)?, id(LOCK_NAME)?])
}

pub(super) fn refused(what: &'static str, path: &Path) -> impl Fn(io::Error) -> JournalError {
    move |source| JournalError::Folder(what, path.into(), source)
}

/// Creates the folder if it does not exist, and locks it. Waits up to two seconds for a daemon that is ending.
pub(super) async fn take(folder: &Path) -> Result<File> {
    make_folder(folder)?;
    check_names(folder)?;
    let until = Instant::now() + ENDING;
    loop {
        match lock(folder) {
            Err(JournalError::InUse(_)) if Instant::now() < until => sleep(ENDING / 20).await,
            other => return other,
        }
    }
}

fn make_folder(folder: &Path) -> Result<()> {
    match fs::metadata(folder) {
        Ok(data) if !data.is_dir() => {
            return Err(JournalError::Unfit(folder.into(), "no folder"));
        }
        // The mode is not changed: the folder may belong to another user or be shared on purpose.
        Ok(data) if data.mode() & 0o077 != 0 => tracing::warn!(
            "others may look into the journal's folder {} (mode {:o}), where conversations are kept; \
             it stays so",
            folder.display(),
            data.mode() & 0o7777
        ),
        _ => {}
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused("folder", folder))
}

/// Checks that the names of the journal's files belong to regular files, as far as they exist. A hard link is refused,
/// because SQLite would keep a second log beside the other name.
pub(super) fn check_names(folder: &Path) -> Result<()> {
    for path in NAMES.map(|name| folder.join(name)) {
        let found = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(refused("file", &path)(error)),
            Ok(data) if data.is_symlink() => "a link",
            Ok(data) if !data.is_file() => "no regular file",
            Ok(data) if data.nlink() > 1 => "a file that has another name too (a hard link)",
            Ok(_) => continue,
        };
        return Err(JournalError::Unfit(path, found));
    }
    Ok(())
}

/// Opens a file for appending, and creates it for the owner only if it does not exist. A link or a FIFO that was put
/// there after [`check_names`] is neither followed nor waited for.
pub(super) fn open_or_make(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(flags).open(path)
}

impl Journal {
    /// Whether a daemon uses the journal in `folder`, as far as this process may know: if the lock file cannot be
    /// opened, one may.
    pub fn is_in_use(folder: &Path) -> bool {
        // The lock is given back at once, and a daemon that starts in this moment tries again.
        match File::open(folder.join(LOCK_NAME)) {
            Ok(file) => file.try_lock_shared().is_err(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// Locks the lock file. The system releases the lock when the process ends, even after a kill -9.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK_NAME);
    let refused = refused("lock", &path);
    let file = open_or_make(&path).map_err(&refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(folder.into())),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}
