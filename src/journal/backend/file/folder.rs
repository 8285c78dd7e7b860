//! Where the file lies: its folder, what else has its name, the lock, and whether it is still the one that was
//! opened.

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

/// The journal's file in RUNNER_DATA_DIR.
pub const FILE_NAME: &str = "journal.db";
pub(super) const LOG_NAME: &str = "journal.db-wal";
const LOCK_NAME: &str = "journal.lock";
/// All that this module and SQLite have in the folder.
pub(super) const NAMES: [&str; 5] =
    [FILE_NAME, LOG_NAME, "journal.db-shm", "journal.db-journal", LOCK_NAME];
/// What a process takes to end that was told to, or killed, a moment ago.
const ENDING: Duration = Duration::from_secs(2);

/// Where a journal lies, and what the system knows its files by.
#[derive(Debug)]
pub(in crate::journal) struct JournalFolder {
    path: PathBuf,
    ids: [FileId; 2],
    /// Held for as long as the process lives; the system frees it even after kill -9.
    pub(in crate::journal) lock: File,
    is_lost: AtomicBool,
    /// Held while somebody looks: one thread that waits for a disk that hangs is enough.
    looking: Arc<Mutex<()>>,
}

/// Device and inode.
type FileId = (u64, u64);

impl JournalFolder {
    /// The journal in this folder, which is locked.
    pub(super) fn of(folder: &Path, lock: File) -> Result<Self> {
        let ids = ids_of(folder).map_err(refused("file", &folder.join(FILE_NAME)))?;
        let (is_lost, looking) = Default::default();
        Ok(Self { path: folder.into(), ids, lock, is_lost, looking })
    }

    /// Why what is written there is of no use, if so.
    pub(in crate::journal) fn trouble(&self) -> Option<JournalError> {
        self.is_lost.load(Relaxed).then(|| JournalError::Lost(self.path.clone()))
    }

    /// Looks whether the files are where they were. Returns the bytes that may still be written.
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
    /// Looks whether its files are still the ones that were opened. Returns the bytes that may still be
    /// written beside them, `None` for a journal that is in no file.
    ///
    /// # Errors
    /// When they are not: somebody has removed or replaced them.
    #[expect(clippy::disallowed_methods, reason = "a disk may take its time")]
    pub(crate) async fn check_folder(&self) -> Result<Option<u64>> {
        let Some(folder) = self.backend.folder.clone() else { return Ok(None) };
        let look = async {
            // What another caller found may be older than this question.
            let looking = folder.looking.clone().lock_owned().await;
            let folder = folder.clone();
            // A disk may take its time.
            spawn_blocking(move || folder.look(looking)).await.ok()
        };
        let looked = timeout(LIMIT, look).await.ok().flatten();
        let looked = looked.ok_or(JournalError::Slow("look after its files".into()))?;
        match folder.trouble() {
            Some(error) => Err(error),
            None => looked.map(Some).map_err(refused("folder", &folder.path)),
        }
    }
}

/// Of the journal and of its lock.
fn ids_of(folder: &Path) -> io::Result<[FileId; 2]> {
    let id = |name| fs::metadata(folder.join(name)).map(|data| (data.dev(), data.ino()));
    Ok([id(FILE_NAME)?, id(LOCK_NAME)?])
}

pub(super) fn refused(what: &'static str, path: &Path) -> impl Fn(io::Error) -> JournalError {
    move |source| JournalError::Folder(what, path.into(), source)
}

/// Makes the folder if need be, and takes the lock in it as soon as a process that is just ending has let go of
/// it.
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
        // It may be somebody else's, or shared on purpose.
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

/// Looks whether what lies where files of the journal belong are such files. One with a second name would have
/// a second log beside that, of which nobody here knows.
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

/// Opens a file to be appended to, made for the owner only if there is none. What has taken its place since
/// [`check_names`] is not followed and not waited for.
pub(super) fn open_or_make(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// The lock is the system's own: it ends with the process, however that ends.
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
