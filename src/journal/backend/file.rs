//! SQLite: opens the journal file and classifies SQLite's errors. `folder` owns the file's place on the disk.

mod folder;
mod interrupt;
mod order;

use std::{fs, path::Path, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Connection,
    migrate::MigrateError,
    sqlite::{SqliteConnectOptions as Options, SqliteJournalMode, SqliteSynchronous},
};

pub(in crate::journal) use folder::JournalFolder;
pub(super) use interrupt::Interrupt;
pub(in crate::journal) use order::{CALLED_BETWEEN, NEWEST_CALLED, NEWEST_STEP, STEP};

use super::{
    super::{Journal, JournalError, Kind, LIMIT, Result, schema},
    Backend, Statement, Value, counted_on,
    held::Held,
};
use crate::domain::one_line;
pub use folder::FILE_NAME;
use folder::LOG_NAME;

/// How long a write waits for a writer in another process (the command line). Shorter than [`LIMIT`].
const BUSY: Duration = Duration::from_secs(10);
/// How long the connection for the page stays open after its last use.
const PAGE_KEPT: Duration = Duration::from_secs(60);
const CHECK: &str = "PRAGMA quick_check(1)";
/// Finds the table of runs. A file that the daemon has just created has no tables yet.
const GUEST_CHECK: &str = "SELECT name FROM pragma_table_list WHERE name = 'runs'";
/// The last migration of the tables.
const MIGRATED: &str = "SELECT MAX(version) AS version FROM _sqlx_migrations WHERE success";
/// Begins a transaction that sees the database of one moment.
pub(super) const BEGIN_SNAPSHOT: &str = "BEGIN";
/// The number of pages, times the size of a page.
const SIZE: &str =
    "SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()";

impl Journal {
    /// Opens the journal in `folder` for this process alone. Creates the folder and the file if they do not
    /// exist, for the owner only, and migrates the tables.
    ///
    /// # Errors
    /// If another daemon uses the journal, if the journal is damaged or cannot be written, or if a link or
    /// something else is in the place of one of its files.
    pub async fn open(folder: &Path) -> Result<Self> {
        let lock = folder::take(folder).await?;
        let path = folder.join(FILE_NAME);
        let size = fs::metadata(&path).map(|data| data.len()).unwrap_or_default();
        if size > 0 {
            // The check opens the file read-only, so a damaged file is not changed.
            check(&path).await?;
        }
        folder::open_or_make(&path).map_err(folder::refused("file", &path))?;
        let writer = Held::of(writing(options(&path)?));
        bring_up_to_date(&writer, &path).await?;
        tracing::info!(bytes = size, "the journal is open");
        // This connection stays open as long as the daemon runs, so its cache is small.
        let reading = options(&path)?.pragma("query_only", "ON").pragma("cache_size", "-128");
        let reader = Held::of(reading);
        let read_only = options(&path)?.read_only(true);
        let page = read_only.clone().pragma("cache_size", "-512");
        let page = Held::on_demand(page, PAGE_KEPT);
        let folder = Some(Arc::new(JournalFolder::of(folder, lock)?));
        let long_reads = Some(for_long_reads(read_only));
        Ok(Self::on(Backend { writer, reader, page, long_reads, folder }))
    }

    /// A journal in memory, for tests and for measuring the cost of the file.
    ///
    /// # Errors
    /// If the database cannot be created.
    pub async fn in_memory() -> Result<Self> {
        let options = writing(Options::new().disable_statement_logging());
        let held = Held::of(options);
        bring_up_to_date(&held, Path::new(":memory:")).await?;
        Ok(Self::on_one(held, None))
    }

    /// Opens a journal for reading, also while a daemon uses it.
    ///
    /// # Errors
    /// If there is no journal in `folder`, or if it cannot be read.
    pub async fn open_read_only(folder: &Path) -> Result<Self> {
        match Self::open_as_guest(folder, |options| options.read_only(true)).await {
            // To read a journal with a log, SQLite needs a file for the index of the log, which it cannot create here.
            Err(JournalError::Failed(_, Kind::ReadOnly, _)) => {
                let log = folder.join(LOG_NAME);
                if fs::metadata(log).is_ok_and(|log| log.len() > 0) {
                    return Err(JournalError::Unplayed(folder.join(FILE_NAME)));
                }
                // Without a log SQLite needs no such file. No daemon changes the journal, because none could write.
                Self::open_as_guest(folder, |options| options.read_only(true).immutable(true)).await
            }
            opened => opened,
        }
    }

    /// Opens a journal for reading and writing, also while a daemon uses it.
    ///
    /// # Errors
    /// If there is no journal in `folder`, or if it cannot be opened.
    pub async fn open_beside_daemon(folder: &Path) -> Result<Self> {
        Self::open_as_guest(folder, |options| options).await
    }

    async fn open_as_guest(folder: &Path, how: fn(Options) -> Options) -> Result<Self> {
        folder::check_names(folder)?;
        let path = folder.join(FILE_NAME);
        if !path.exists() {
            return Err(JournalError::Missing(path));
        }
        let options = how(options(&path)?);
        let journal = Self::on_one(Held::of(options.clone()), Some(for_long_reads(options)));
        match journal.backend.rows(GUEST_CHECK.into(), vec![]).await {
            Ok(tables) if tables.is_empty() => Err(JournalError::Missing(path)),
            Ok(_) => match journal.rows("be opened", MIGRATED, vec![]).await?.first() {
                Some(row) if row.number("version") >= Some(schema::NEWEST) => Ok(journal),
                _ => Err(JournalError::Older(path)),
            },
            Err(error) => Err(of_opening(&path, &error)),
        }
    }

    /// A journal with one connection: a database in memory exists in one connection only, and the commands need no
    /// second one.
    fn on_one(held: Held, long_reads: Option<Options>) -> Self {
        let (writer, reader) = (held.clone(), held.clone());
        Self::on(Backend { writer, reader, page: held, long_reads, folder: None })
    }

    /// The size of the database in bytes, without its write-ahead log.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn size(&self) -> Result<u64> {
        let rows = self.rows("tell its size", SIZE, vec![]).await?;
        Ok(rows.first().map(|row| row.count("bytes")).unwrap_or_default())
    }

    /// Limits the size of the database to `pages` pages. Tests use this as a full disk.
    ///
    /// # Errors
    /// If the database refuses the limit.
    pub async fn limit_pages(&self, pages: u32) -> Result<()> {
        let pragma = format!("PRAGMA max_page_count = {pages}");
        let limited = self.backend.writer.execute(pragma).await;
        limited.map_err(|error| failed("limit its pages", &error))
    }
}

/// Reads the whole file and checks it. The file stays as it is; the content of the log is not moved into it.
async fn check(path: &Path) -> Result<()> {
    let options = options(path)?.read_only(true);
    let answer = async {
        let mut connection = options.connect().await?;
        let answer = sqlx::query_scalar::<_, String>(CHECK).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(answer)
    };
    match answer.await.map_err(|error: sqlx::Error| of_opening(path, &error))? {
        answer if answer == "ok" => Ok(()),
        detail => Err(JournalError::Corrupt(path.into(), one_line(&detail))),
    }
}

async fn bring_up_to_date(held: &Held, path: &Path) -> Result<()> {
    let mut session = held.session().await.map_err(|error| of_opening(path, &error))?;
    let connection = session.connection().map_err(|error| of_opening(path, &error))?;
    // With `run`, no future around this one would be `Send`; `run_direct` is sqlx's way around that.
    schema::migrator().run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(migration) => JournalError::Newer(path.into(), migration),
        error => JournalError::Migration(error.to_string()),
    })
}

fn options(path: &Path) -> Result<Options> {
    // SQLite would parse a relative name that begins with `file:` as a URL.
    let absolute = std::path::absolute(path).map_err(folder::refused("file", path))?;
    Ok(Options::new().filename(absolute).busy_timeout(BUSY).disable_statement_logging())
}

/// Options of a connection for a long read. More rows than by default wait for the reader, because each wait costs a
/// change of threads.
fn for_long_reads(options: Options) -> Options {
    options.pragma("query_only", "ON").row_buffer_size(500)
}

/// Options of the connection that writes. `journal_size_limit` truncates a log that has grown during a long read.
fn writing(options: Options) -> Options {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("journal_size_limit", "8388608")
        .pragma("cache_size", "-1024")
}

/// Joins the statements to one text with BEGIN and COMMIT, so that SQLite's thread gets one request. In `statements`
/// each statement counts its values from `$1`; in the text all values are counted together.
pub(super) fn in_one_transaction(statements: Vec<Statement>) -> (String, Vec<Value>) {
    let (mut text, mut all) = ("BEGIN".to_owned(), Vec::new());
    for (sql, values) in statements {
        text.push(';');
        counted_on(&sql, all.len(), &mut text);
        all.extend(values);
    }
    text.push_str(";COMMIT");
    (text, all)
}

/// The error of an operation that the database refused.
pub(in crate::journal) fn failed(task: &'static str, error: &sqlx::Error) -> JournalError {
    JournalError::Failed(task, kind_of(error), error.to_string())
}

/// Classifies an error by the primary code of SQLite. The higher bits of the code hold details.
fn kind_of(error: &sqlx::Error) -> Kind {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    match code.unwrap_or_default() & 0xff {
        // SQLITE_READONLY, SQLITE_CANTOPEN
        8 | 14 => Kind::ReadOnly,
        // SQLITE_CORRUPT, SQLITE_NOTADB
        11 | 26 => Kind::Damaged,
        // SQLITE_CONSTRAINT
        19 => Kind::Conflict,
        // SQLITE_ERROR, SQLITE_SCHEMA, SQLITE_TOOBIG, SQLITE_MISMATCH, SQLITE_RANGE
        1 | 17 | 18 | 20 | 25 => Kind::Refused,
        _ => Kind::Other,
    }
}

fn of_opening(path: &Path, error: &sqlx::Error) -> JournalError {
    match kind_of(error) {
        Kind::Damaged => JournalError::Corrupt(path.into(), one_line(&error.to_string())),
        _ => failed("be opened", error),
    }
}

#[cfg(test)]
mod tests;
