//! SQLite: how the file is opened, and what the codes of its errors mean. Where it lies is told in `place`.

mod folder;

use std::{fs, path::Path, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Connection, SqlitePool,
    migrate::MigrateError,
    sqlite::{
        SqliteConnectOptions as Options, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    },
};

pub(in crate::journal) use folder::JournalFolder;

use super::{
    super::{Journal, JournalError, Kind, LIMIT, Result, schema},
    Backend, Failure, Statement, Value,
};
use crate::domain::one_line;
pub use folder::FILE_NAME;
use folder::LOG_NAME;

/// How long a foreign writer (the command line) is waited for: less than an operation may take.
const BUSY: Duration = Duration::from_secs(10);
const CHECK: &str = "PRAGMA quick_check(1)";
/// Whether there is a journal in the file: one that was made a moment ago has no tables yet.
const GUEST_CHECK: &str = "SELECT name FROM pragma_table_list WHERE name = 'runs'";
/// Pages times their size.
const SIZE: &str =
    "SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()";

impl Journal {
    /// Opens the journal in `folder` for this process alone, made and brought up to date if need be.
    /// A folder and a file that are made are for the owner only.
    ///
    /// # Errors
    /// When another process has it, it is damaged, something else is in its place, or it cannot be written to.
    pub async fn open(folder: &Path) -> Result<Self> {
        let lock = folder::take(folder).await?;
        let path = folder.join(FILE_NAME);
        let size = fs::metadata(&path).map(|data| data.len()).unwrap_or_default();
        if size > 0 {
            // Read-only, before anything could change it.
            check(&path).await?;
        }
        folder::open_or_make(&path).map_err(folder::refused("file", &path))?;
        let writer = pool().connect_with(writing(options(&path)?)).await;
        let writer = writer.map_err(|error| of_opening(&path, error))?;
        bring_up_to_date(&writer, &path).await?;
        tracing::info!(bytes = size, "the journal is open");
        // It is there for as long as the daemon is: what it keeps in memory is little.
        let reading = options(&path)?.pragma("query_only", "ON").pragma("cache_size", "-128");
        let reader = pool().connect_lazy_with(reading);
        let folder = Some(Arc::new(JournalFolder::of(folder, lock)?));
        Ok(Self::on(Backend { writer, reader, folder }))
    }

    /// A journal that ends with the process: what the file costs is measured against it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn in_memory() -> Result<Self> {
        let options = writing(Options::new().disable_statement_logging());
        let pool = pool().connect_with(options).await;
        let pool = pool.map_err(|error| Failure::from(error).of("be made in memory"))?;
        bring_up_to_date(&pool, Path::new(":memory:")).await?;
        Ok(Self::on_one(pool))
    }

    /// Opens the journal of a daemon that may be running, to read it.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn open_read_only(folder: &Path) -> Result<Self> {
        match Self::open_as_guest(folder, |options| options.read_only(true)).await {
            // SQLite shares an index of the log with other readers, in a file that it cannot make here.
            Err(error) if error.kind() == Kind::ReadOnly => {
                let log = folder.join(LOG_NAME);
                if fs::metadata(log).is_ok_and(|log| log.len() > 0) {
                    return Err(JournalError::Unplayed(folder.join(FILE_NAME)));
                }
                // Without a log there is nothing to share: the daemon has ended, or could not write either.
                Self::open_as_guest(folder, |options| options.read_only(true).immutable(true)).await
            }
            opened => opened,
        }
    }

    /// Opens the journal of a daemon that may be running, to leave it a mark.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub async fn open_beside_daemon(folder: &Path) -> Result<Self> {
        Self::open_as_guest(folder, |options| options).await
    }

    async fn open_as_guest(folder: &Path, how: fn(Options) -> Options) -> Result<Self> {
        folder::check_names(folder)?;
        let path = folder.join(FILE_NAME);
        if !path.exists() {
            return Err(JournalError::Missing(path));
        }
        let opened = pool().connect_with(how(options(&path)?)).await;
        let journal = Self::on_one(opened.map_err(|error| of_opening(&path, error))?);
        // SQLite looks into a file with the first question only.
        match journal.backend.rows(GUEST_CHECK, vec![]).await {
            Ok(tables) if tables.is_empty() => Err(JournalError::Missing(path)),
            Ok(_) => Ok(journal),
            Err(failure) => Err(of_opening(&path, failure)),
        }
    }

    /// A database in memory lives in its one connection, and a guest needs no more.
    fn on_one(pool: SqlitePool) -> Self {
        Self::on(Backend { writer: pool.clone(), reader: pool, folder: None })
    }

    /// Size of the database, in bytes, without its write-ahead log.
    ///
    /// # Errors
    /// When the database does not say.
    pub async fn size(&self) -> Result<u64> {
        let rows = self.rows("tell its size", SIZE, vec![]).await?;
        Ok(rows.first().map(|row| row.count("bytes")).unwrap_or_default())
    }

    /// Lets the file grow to so many pages and no further: a full disk, for tests.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn limit_pages(&self, pages: u32) -> Result<()> {
        let pragma = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        let limited = sqlx::query(pragma).execute(&self.backend.writer).await;
        limited.map(drop).map_err(|error| Failure::from(error).of("limit its pages"))
    }
}

/// Reads the whole file once; nothing is written, not even its log played back into it.
async fn check(path: &Path) -> Result<()> {
    let options = options(path)?.read_only(true);
    let answer = async {
        let mut connection = options.connect().await?;
        let answer: String = sqlx::query_scalar(CHECK).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(answer)
    };
    match answer.await.map_err(|error: sqlx::Error| of_opening(path, error))? {
        answer if answer == "ok" => Ok(()),
        detail => Err(JournalError::Corrupt(path.into(), one_line(&detail))),
    }
}

async fn bring_up_to_date(pool: &SqlitePool, path: &Path) -> Result<()> {
    schema::migrator().run(pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(migration) => JournalError::Newer(path.into(), migration),
        error => JournalError::Migration(error.to_string()),
    })
}

fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(LIMIT)
        .test_before_acquire(false)
}

fn options(path: &Path) -> Result<Options> {
    // SQLite takes a name that begins with `file:` for a URL.
    let absolute = std::path::absolute(path).map_err(folder::refused("file", path))?;
    Ok(Options::new().filename(absolute).busy_timeout(BUSY).disable_statement_logging())
}

/// Of the connection that writes. A long reader must not let the log grow for ever.
fn writing(options: Options) -> Options {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("journal_size_limit", "8388608")
        .pragma("cache_size", "-1024")
}

/// One text of several statements, so that SQLite's thread is asked once for all of them. Each statement numbers its
/// own values from `$1`; the text numbers the values of all statements.
pub(super) fn in_one_transaction(statements: Vec<Statement>) -> (String, Vec<Value>) {
    let (mut text, mut all) = ("BEGIN".to_owned(), Vec::new());
    for (sql, values) in statements {
        text.push(';');
        let mut parts = sql.split('$');
        text.extend(parts.next());
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            let number = number.parse::<usize>().unwrap_or_default() + all.len();
            text.extend(["$", &number.to_string(), rest]);
        }
        all.extend(values);
    }
    text.push_str(";COMMIT");
    (text, all)
}

/// What SQLite's codes mean, without the detail in their higher bits.
pub(super) fn kind_of(error: &sqlx::Error) -> Kind {
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return Kind::Slow;
    }
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    match code.unwrap_or_default() & 0xff {
        // SQLITE_BUSY, SQLITE_LOCKED
        5 | 6 => Kind::Slow,
        // SQLITE_READONLY, SQLITE_CANTOPEN
        8 | 14 => Kind::ReadOnly,
        // SQLITE_CORRUPT, SQLITE_NOTADB
        11 | 26 => Kind::Damaged,
        // SQLITE_FULL
        13 => Kind::Full,
        // SQLITE_CONSTRAINT
        19 => Kind::Conflict,
        _ => Kind::Other,
    }
}

fn of_opening(path: &Path, failure: impl Into<Failure>) -> JournalError {
    match failure.into() {
        Failure { kind: Kind::Damaged, detail } => {
            JournalError::Corrupt(path.into(), one_line(&detail))
        }
        failure => failure.of("be opened"),
    }
}

#[cfg(test)]
mod tests;
