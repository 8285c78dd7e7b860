//! The database: connections, statements, values and rows. Only `file` is specific to SQLite, so that a Postgres
//! backend could replace it.

mod file;

use std::sync::Arc;

use jiff::Timestamp;
use scopeguard::{ScopeGuard, guard};
use sqlx::{
    AssertSqlSafe, Row as _, SqlSafeStr, Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection, sqlite::SqliteRow,
};
use tokio::runtime::Handle;

use crate::domain::{RunId, Usd};
pub use file::FILE_NAME;
use file::JournalFolder;
pub(super) use file::failed;

/// The connections to a journal. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    /// One connection, because SQLite allows one writer at a time.
    pub writer: SqlitePool,
    /// One connection for reading, opened at the first query. Reads and writes do not wait for each other.
    reader: SqlitePool,
    /// The folder of the journal file; `None` if the journal is in memory or belongs to another process.
    pub folder: Option<Arc<JournalFolder>>,
}

/// SQL text with the placeholders `$1`, `$2` and so on for its values.
pub(super) type Sql = &'static str;

/// A statement and its values.
pub(super) type Statement = (Sql, Vec<Value>);

impl Backend {
    /// Executes a query on the connection for reading.
    pub(super) async fn rows(&self, sql: Sql, values: Vec<Value>) -> sqlx::Result<Vec<Row>> {
        rows(&mut *self.reader.acquire().await?, sql, values).await
    }

    /// Executes the statements in one transaction and one exchange with the database. Returns the rows of all
    /// their RETURNING clauses. If the caller is dropped before the transaction has the connection, nothing is
    /// executed; if the caller is dropped later, the transaction is completed.
    #[expect(clippy::disallowed_methods, reason = "a transaction outlives its caller")]
    pub(super) async fn write(&self, statements: Vec<Statement>) -> sqlx::Result<Vec<Row>> {
        let session = self.writer.acquire().await?;
        let (sql, values) = file::in_one_transaction(statements);
        let transaction = async move {
            // sqlx's own transaction is not used: it counts nested transactions, and its count stays wrong after
            // SQLite has rolled a transaction back by itself, for example on a full disk.
            let mut session = guard(session, roll_back);
            let rows = rows(&mut session, AssertSqlSafe(sql), values).await?;
            drop(ScopeGuard::into_inner(session));
            Ok(rows)
        };
        // A task for each transaction would cost a change of threads, so only the rest of a dropped one gets a task.
        let carry_on = |rest| {
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(rest);
            }
        };
        let mut transaction = guard(Box::pin(transaction), carry_on);
        let done = transaction.as_mut().await;
        drop(ScopeGuard::into_inner(transaction));
        done
    }

    /// Closes the connections after the statements that are being executed.
    pub(super) async fn close(&self) {
        self.reader.close().await;
        // SQLite moves the log into the database file when the last connection is closed.
        self.writer.close().await;
    }
}

/// Rolls the transaction of a session back. The next transaction gets the connection afterwards.
#[expect(clippy::disallowed_methods, reason = "only the next transaction waits for the rollback")]
fn roll_back(mut session: PoolConnection<Sqlite>) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            // The statement fails if SQLite has already rolled the transaction back by itself.
            drop(rows(&mut session, "ROLLBACK", vec![]).await);
        });
    }
}

async fn rows(
    on: &mut SqliteConnection,
    sql: impl SqlSafeStr,
    values: Vec<Value>,
) -> sqlx::Result<Vec<Row>> {
    let query = values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Number(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    });
    Ok(query.fetch_all(on).await?.into_iter().map(Row).collect())
}

/// A value of a column. Every column is of one of these two types.
#[derive(Debug)]
pub(super) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
}

/// A number. A number above the range of the column is stored as the largest one.
pub(super) fn number(number: impl TryInto<i64>) -> Value {
    Value::Number(Some(number.try_into().unwrap_or(i64::MAX)))
}

/// A time, stored in milliseconds since 1970.
pub(super) fn time(time: impl Into<Option<Timestamp>>) -> Value {
    Value::Number(time.into().map(Timestamp::as_millisecond))
}

pub(super) fn text(text: impl ToString) -> Value {
    Value::Text(Some(text.to_string()))
}

/// A row of a result. A column that has another type or range than this program writes, because somebody has
/// edited the database, is read as `None` or as the type's default.
pub(super) struct Row(SqliteRow);

impl Row {
    pub(super) fn number(&self, column: &str) -> Option<i64> {
        // SQLite converts NULL to the number 0, so the column is read as an `Option`.
        self.0.try_get::<Option<_>, _>(column).ok()?
    }

    /// A count. A value that is no count is read as 0.
    pub(super) fn count<T: TryFrom<i64> + Default>(&self, column: &str) -> T {
        self.number(column).and_then(|number| number.try_into().ok()).unwrap_or_default()
    }

    pub(super) fn money(&self, column: &str) -> Usd {
        Usd::from_picodollars(self.count(column))
    }

    /// The column `number`: the position of a step or of a post within its run.
    pub(super) fn row_number(&self) -> Option<u32> {
        self.number("number")?.try_into().ok()
    }

    pub(super) fn time(&self, column: &str) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.number(column)?).ok()
    }

    /// A text, or an error text that says why the column is not one.
    pub(super) fn text(&self, column: &str) -> Result<String, String> {
        let text = self.0.try_get::<Option<_>, _>(column).map_err(|error| error.to_string())?;
        text.ok_or_else(|| format!("there is no {column}"))
    }

    pub(super) fn run(&self, column: &str) -> Result<RunId, String> {
        RunId::parse(&self.text(column)?).map_err(|error| error.to_string())
    }
}
