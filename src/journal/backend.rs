//! The database: connections, statements, values and rows. Only `file` is specific to SQLite, so that a Postgres
//! backend could replace it.

mod file;
mod held;

use std::{borrow::Cow, io::ErrorKind, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use scopeguard::{ScopeGuard, guard};
use sqlx::{
    AssertSqlSafe, Either, Executor, Row as _, SqlSafeStr, SqlStr, Sqlite, SqliteConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow},
};
use tokio::{
    runtime::Handle,
    time::{error::Elapsed, timeout},
};

use crate::domain::{RunId, Usd};
pub use file::FILE_NAME;
use file::JournalFolder;
pub(super) use file::{CALLED_BETWEEN, NEWEST_CALLED, NEWEST_STEP, STEP, failed};
use held::{Held, Session};

/// The connections to a journal. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    /// SQLite allows one writer at a time.
    pub writer: Held,
    /// A connection for reading, opened at the first query. Reads and writes do not wait for each other.
    reader: Held,
    /// A connection for the page: opened on demand, for reading only. No run waits for it.
    page: Held,
    /// The options of a connection for a long read; `None` if the database is in memory and so in one connection only.
    pub long_reads: Option<SqliteConnectOptions>,
    /// The folder of the journal file; `None` if the journal is in memory or belongs to another process.
    pub folder: Option<Arc<JournalFolder>>,
}

/// SQL text with the placeholders `$1`, `$2` and so on for its values.
pub(super) type Sql = &'static str;

/// A statement and its values. Only the number of rows of an INSERT is not known before.
pub(super) type Statement = (Cow<'static, str>, Vec<Value>);

/// An INSERT of several rows, in statements of at most 50 rows. `head` ends before VALUES; `row` has the values of a row
/// with their placeholders, counted from `$1`.
pub(super) fn rows_of<'a>(
    head: &'a str,
    row: &'a str,
    rows: Vec<Vec<Value>>,
) -> impl Iterator<Item = Statement> + 'a {
    let mut rows = rows.into_iter().peekable();
    std::iter::from_fn(move || {
        rows.peek()?;
        let (mut sql, mut all) = (format!("{head} VALUES "), Vec::new());
        for values in rows.by_ref().take(ROWS_AT_ONCE) {
            sql.push_str(if all.is_empty() { "" } else { ", " });
            counted_on(row, all.len(), &mut sql);
            all.extend(values);
        }
        Some((sql.into(), all))
    })
}

/// From this size on, in bytes, a compiled text is not kept: it has an INSERT of several rows.
const LONG_SQL: usize = 4_096;

/// How many rows one INSERT writes at most, because a database limits the number of values of a statement.
const ROWS_AT_ONCE: usize = 50;

/// Appends `sql` to `text`, with placeholders that are counted on from `before`.
pub(super) fn counted_on(sql: &str, before: usize, text: &mut String) {
    let mut parts = sql.split('$');
    text.extend(parts.next());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let number = number.parse::<usize>().unwrap_or_default() + before;
        text.extend(["$", &number.to_string(), rest]);
    }
}

impl Backend {
    /// Executes a query on the connection for reading.
    pub(super) async fn rows(
        &self,
        sql: Cow<'static, str>,
        values: Vec<Value>,
    ) -> sqlx::Result<Vec<Row>> {
        self.reader.session().await?.rows(known(sql), values, 1).await
    }

    /// The same journal through the connection for the page. Its writes fail.
    pub(super) fn for_page(&self) -> Self {
        Self { writer: self.page.clone(), reader: self.page.clone(), ..self.clone() }
    }

    /// Executes the statements in one transaction and one exchange with the database. Returns the rows of all
    /// their RETURNING clauses. If the caller is dropped before the transaction has the connection, nothing is
    /// executed; if the caller is dropped later, the transaction is completed.
    #[expect(clippy::disallowed_methods, reason = "a transaction outlives its caller")]
    pub(super) async fn write(&self, statements: Vec<Statement>) -> sqlx::Result<Vec<Row>> {
        let session = self.writer.session().await?;
        let count = statements.len() + 2;
        let (sql, values) = file::in_one_transaction(statements);
        let transaction = async move {
            // sqlx's own transaction is not used: it counts nested transactions, and its count stays wrong after
            // SQLite has rolled a transaction back by itself, for example on a full disk.
            let mut session = guard(session, roll_back);
            let rows = session.rows(AssertSqlSafe(sql), values, count).await?;
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

    /// Begins a long read on a connection of its own, which is closed afterwards.
    pub(super) async fn snapshot(&self) -> sqlx::Result<Snapshot> {
        let session = match &self.long_reads {
            Some(options) => Held::of(options.clone()).session().await?,
            None => self.reader.session().await?,
        };
        let mut session = guard(session, roll_back as fn(Session));
        session.rows(file::BEGIN_SNAPSHOT, vec![], 1).await?;
        Ok(Snapshot(session))
    }

    /// Closes the connections after the statements that are being executed.
    pub(super) async fn close(&self) {
        self.page.close().await;
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// The database at one moment. Nobody who writes waits for it.
pub(super) struct Snapshot(ScopeGuard<Session, fn(Session)>);

impl Snapshot {
    /// Hands the rows of a query over one by one, and waits for each at most for `limit`.
    pub(super) async fn each(
        &mut self,
        sql: Sql,
        values: Vec<Value>,
        limit: Duration,
        mut each: impl FnMut(Row),
    ) -> sqlx::Result<()> {
        let mut results = self.0.connection()?.fetch_many(bound(sql, values));
        let mut is_complete = false;
        while let Some(result) = timeout(limit, results.try_next()).await.map_err(too_slow)?? {
            match result {
                Either::Left(_) => is_complete = true,
                Either::Right(row) => each(Row(row)),
            }
        }
        // The results end without an error if the thread of the connection ends.
        if is_complete { Ok(()) } else { Err(sqlx::Error::WorkerCrashed) }
    }
}

fn too_slow(_: Elapsed) -> sqlx::Error {
    sqlx::Error::Io(ErrorKind::TimedOut.into())
}

/// Rolls the transaction of a session back. The next transaction gets the connection afterwards.
#[expect(clippy::disallowed_methods, reason = "only the next transaction waits for the rollback")]
fn roll_back(mut session: Session) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            // SQLite refuses the statement if it has already rolled the transaction back by itself.
            drop(session.rows("ROLLBACK", vec![], 1).await);
        });
    }
}

async fn rows(
    connection: &mut SqliteConnection,
    query: Query<'_, Sqlite, SqliteArguments>,
    count: usize,
) -> sqlx::Result<Vec<Row>> {
    let (mut rows, mut completed) = (Vec::new(), 0);
    let mut results = connection.fetch_many(query);
    while let Some(result) = results.try_next().await? {
        match result {
            Either::Left(_) => completed += 1,
            Either::Right(row) => rows.push(Row(row)),
        }
    }
    // The results end without an error if the thread of the connection ends.
    if completed == count { Ok(rows) } else { Err(sqlx::Error::WorkerCrashed) }
}

/// A text whose values are all bound.
fn known(sql: Cow<'static, str>) -> SqlStr {
    match sql {
        Cow::Borrowed(sql) => sql.into_sql_str(),
        Cow::Owned(sql) => AssertSqlSafe(sql).into_sql_str(),
    }
}

/// A query with its values.
fn bound<'a>(sql: impl SqlSafeStr, values: Vec<Value>) -> Query<'a, Sqlite, SqliteArguments> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Number(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    })
}

/// A value of a column. Every column is of one of these two types.
#[derive(Clone, Debug)]
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

/// A text that may be absent.
pub(super) fn optional(text: Option<impl ToString>) -> Value {
    Value::Text(text.map(|text| text.to_string()))
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

    /// A flag: 0 or 1.
    pub(super) fn flag(&self, column: &str) -> bool {
        self.number(column).is_some_and(|number| number != 0)
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
