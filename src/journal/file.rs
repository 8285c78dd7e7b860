//! The file: where it lies, who may use it, whether it is sound. What is SQLite's own stands here.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::OFlags;
use sqlx::{
    AnyConnection, AnyPool, ConnectOptions, Connection, Executor, Row,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::MigrateError,
};
use tokio::time::{Instant, sleep};

use super::{Journal, JournalError, LIMIT, Result, place::Place, schema};

/// The journal's file in RUNNER_DATA_DIR.
pub const FILE_NAME: &str = "journal.db";
const LOCK_NAME: &str = "journal.lock";
const LOG_NAME: &str = "journal.db-wal";
/// All that this module and SQLite have in the folder.
const NAMES: [&str; 5] = [FILE_NAME, LOG_NAME, "journal.db-shm", "journal.db-journal", LOCK_NAME];
/// What a process takes to end that was told to, or killed, a moment ago.
const ENDING: Duration = Duration::from_secs(2);

/// Of the daemon's connection. A foreign writer (the command line) is waited for, for less than an
/// operation may take; a long reader must not let the log grow for ever.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
     PRAGMA busy_timeout = 10000; PRAGMA journal_size_limit = 8388608; PRAGMA cache_size = -1024";
/// Of a connection beside the daemon's.
const GUEST_PRAGMAS: &str = "PRAGMA busy_timeout = 10000";
const CHECK: &str = "PRAGMA quick_check(1)";
/// Whether there is a journal in the file: one that was made a moment ago has no tables yet.
const GUEST_CHECK: &str = "SELECT name FROM pragma_table_list WHERE name = 'runs'";
/// Pages times their size.
pub(super) const SIZE: &str =
    "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";

impl Journal {
    /// Opens the journal in `folder` for this process alone, made and brought up to date if need be.
    /// A folder and a file that are made are for the owner only.
    ///
    /// # Errors
    /// When another process has it, it is damaged, something else is in its place, or it cannot be written to.
    pub async fn open(folder: &Path) -> Result<Self> {
        make_folder(folder)?;
        check_names(folder)?;
        let lock = wait_for_lock(folder).await?;
        let path = folder.join(FILE_NAME);
        let size = fs::metadata(&path).map(|data| data.len()).unwrap_or_default();
        if size > 0 {
            // Read-only, before anything could change it.
            check(&path).await?;
        }
        make_file(&path)?;
        let pool =
            pool(&url(&path, "rw")?, PRAGMAS).await.map_err(|source| of_opening(&path, source))?;
        schema::migrator().run(&pool).await.map_err(|error| match error {
            MigrateError::VersionMissing(migration) => {
                JournalError::Newer { path: path.clone(), migration }
            }
            error => error.into(),
        })?;
        tracing::info!(bytes = size, "the journal is open");
        let refused = |source| JournalError::Folder { what: "file", path: path.clone(), source };
        let place = Place::of(folder, [path.clone(), folder.join(LOCK_NAME)], lock);
        let place = place.map_err(refused)?;
        Ok(Self { place: Some(Arc::new(place)), ..Self::of(pool) })
    }

    /// A journal that ends with the process: what the file costs is measured against it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn in_memory() -> Result<Self> {
        let attempted = "be made in memory";
        let pool = pool("sqlite::memory:", PRAGMAS)
            .await
            .map_err(|source| JournalError::Storage { attempted, source })?;
        schema::migrator().run(&pool).await?;
        Ok(Self::of(pool))
    }

    /// Opens the journal of a daemon that may be running, to read it.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn open_read_only(folder: &Path) -> Result<Self> {
        match Self::open_as_guest(folder, "ro").await {
            // SQLite shares an index of the log with other readers, in a file that it cannot make here.
            Err(JournalError::Storage { source, .. }) if is_for_want_of_writing(&source) => {
                let log = folder.join(LOG_NAME);
                if fs::metadata(log).is_ok_and(|log| log.len() > 0) {
                    return Err(JournalError::Unplayed { path: folder.join(FILE_NAME) });
                }
                // Without a log there is nothing to share: the daemon has ended, or could not write either.
                Self::open_as_guest(folder, "ro&immutable=true").await
            }
            opened => opened,
        }
    }

    /// Opens the journal of a daemon that may be running, to leave it a mark.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub async fn open_beside_daemon(folder: &Path) -> Result<Self> {
        Self::open_as_guest(folder, "rw").await
    }

    async fn open_as_guest(folder: &Path, mode: &str) -> Result<Self> {
        check_names(folder)?;
        let path = folder.join(FILE_NAME);
        if !path.exists() {
            return Err(JournalError::Missing { path });
        }
        let opening = |source| of_opening(&path, source);
        let pool = pool(&url(&path, mode)?, GUEST_PRAGMAS).await.map_err(opening)?;
        // SQLite looks into a file with the first question only.
        match pool.fetch_optional(GUEST_CHECK).await.map_err(opening)? {
            Some(_) => Ok(Self::of(pool)),
            None => Err(JournalError::Missing { path }),
        }
    }

    fn of(pool: AnyPool) -> Self {
        Self { pool, trouble: Arc::default(), told: Arc::default(), place: None }
    }

    /// Lets the file grow to so many pages and no further: a full disk, for tests.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn limit_pages(&self, pages: u32) -> Result<()> {
        let pragma = format!("PRAGMA max_page_count = {pages}");
        self.read("limit its pages", self.pool.execute(sqlx::AssertSqlSafe(pragma))).await?;
        Ok(())
    }
}

fn make_folder(folder: &Path) -> Result<()> {
    let refused = |source| JournalError::Folder { what: "folder", path: folder.into(), source };
    match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused)
        }
        Err(error) => Err(refused(error)),
        Ok(data) if !data.is_dir() => {
            Err(JournalError::Unfit { path: folder.into(), found: "no folder" })
        }
        // It may be somebody else's, or shared on purpose.
        Ok(data) => {
            if data.mode() & 0o077 != 0 {
                tracing::warn!(
                    "others may look into the journal's folder {} (mode {:o}), where conversations are kept; \
                     it stays so",
                    folder.display(),
                    data.mode() & 0o7777
                );
            }
            Ok(())
        }
    }
}

/// Looks whether what lies where files of the journal belong are such files. One with a second name would have
/// a second log beside that, of which nobody here knows.
fn check_names(folder: &Path) -> Result<()> {
    for path in NAMES.map(|name| folder.join(name)) {
        let found = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(JournalError::Folder { what: "file", path, source }),
            Ok(data) if data.is_symlink() => "a link",
            Ok(data) if !data.is_file() => "no regular file",
            Ok(data) if data.nlink() > 1 => "a file that has another name too (a hard link)",
            Ok(_) => continue,
        };
        return Err(JournalError::Unfit { path, found });
    }
    Ok(())
}

/// Opens a file to be appended to, made for the owner only if there is none. What has taken its place since
/// [`check_names`] is not followed and not waited for.
fn open_or_make(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

fn make_file(path: &Path) -> Result<()> {
    let refused = |source| JournalError::Folder { what: "file", path: path.into(), source };
    open_or_make(path).map(drop).map_err(refused)
}

/// The lock, as soon as a process that is just ending has let go of it.
async fn wait_for_lock(folder: &Path) -> Result<File> {
    let until = Instant::now() + ENDING;
    loop {
        match lock(folder) {
            Err(JournalError::InUse { .. }) if Instant::now() < until => sleep(ENDING / 20).await,
            other => return other,
        }
    }
}

/// The lock is the system's own: it ends with the process, however that ends.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK_NAME);
    let refused = |source| JournalError::Folder { what: "lock", path: path.clone(), source };
    let file = open_or_make(&path).map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path: folder.into() }),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}

/// Reads the whole file once; nothing is written, not even its log played back into it.
async fn check(path: &Path) -> Result<()> {
    let attempted = async {
        let mut connection = options(&url(path, "ro")?).connect().await?;
        let answer: String = sqlx::query(CHECK).fetch_one(&mut connection).await?.try_get(0)?;
        connection.close().await?;
        Ok(answer)
    };
    let detail = match attempted.await {
        Ok(answer) if answer == "ok" => return Ok(()),
        Ok(answer) => answer,
        Err(Opening::Database(error)) if is_damage(&error) => error.to_string(),
        Err(Opening::Database(error)) => return Err(of_opening(path, error)),
        Err(Opening::Journal(error)) => return Err(error),
    };
    Err(JournalError::Corrupt { path: path.into(), detail: crate::domain::one_line(&detail) })
}

enum Opening {
    Database(sqlx::Error),
    Journal(JournalError),
}

impl From<sqlx::Error> for Opening {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<JournalError> for Opening {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// SQLite's code, without the detail in its higher bits.
fn code_of(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<u32>().ok()? & 0xff)
}

/// SQLITE_CORRUPT and SQLITE_NOTADB.
fn is_damage(error: &sqlx::Error) -> bool {
    matches!(code_of(error), Some(11 | 26))
}

/// SQLITE_READONLY and SQLITE_CANTOPEN.
fn is_for_want_of_writing(error: &sqlx::Error) -> bool {
    matches!(code_of(error), Some(8 | 14))
}

fn of_opening(path: &Path, source: sqlx::Error) -> JournalError {
    if is_damage(&source) {
        return JournalError::Corrupt { path: path.into(), detail: source.to_string() };
    }
    JournalError::Storage { attempted: "be opened", source }
}

async fn pool(url: &str, pragmas: &'static str) -> sqlx::Result<AnyPool> {
    // One connection: SQLite has one writer, and a database in memory lives in its connection.
    AnyPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(LIMIT)
        .test_before_acquire(false)
        .after_connect(move |connection, _| Box::pin(set_up(connection, pragmas)))
        .connect_with(options(url))
        .await
}

async fn set_up(connection: &mut AnyConnection, pragmas: &'static str) -> sqlx::Result<()> {
    connection.execute(sqlx::raw_sql(pragmas)).await?;
    Ok(())
}

fn options(url: &str) -> AnyConnectOptions {
    sqlx::any::install_default_drivers();
    #[allow(clippy::expect_used, reason = "made of a scheme and an escaped path just before")]
    let options: AnyConnectOptions = url.parse().expect("a database URL");
    options.disable_statement_logging()
}

/// The file's URL, with every byte of its path escaped that a URL would take for its own.
fn url(path: &Path, mode: &str) -> Result<String> {
    let refused = |source| JournalError::Folder { what: "file", path: path.into(), source };
    let absolute: PathBuf = std::path::absolute(path).map_err(refused)?;
    let url = url::Url::from_file_path(&absolute)
        .map_err(|()| refused(io::Error::from(io::ErrorKind::InvalidInput)))?;
    Ok(format!("sqlite://{}?mode={mode}", url.path()))
}

#[cfg(test)]
mod tests;
