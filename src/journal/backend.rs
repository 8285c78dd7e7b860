//! What verbs are carried out on: sessions, and the values and rows that go through them. SQLite is behind
//! them; Postgres is to stand beside it, and no verb to know which it is.

mod file;

use std::sync::Arc;

use jiff::Timestamp;
use scopeguard::{ScopeGuard, guard};
use sqlx::{
    AssertSqlSafe, Row as _, SqlSafeStr, Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};
use tokio::runtime::Handle;

use super::{JournalError, Kind};
use crate::domain::{RunId, Usd};
pub use file::FILE_NAME;
use file::JournalFolder;

/// Where a journal is kept. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    /// SQLite has one writer.
    pub writer: SqlitePool,
    /// Opened with the first question: who reads neither waits for a write nor holds one up.
    reader: SqlitePool,
    /// Of a journal in a file, that this process has for itself.
    pub folder: Option<Arc<JournalFolder>>,
}

/// A verb failed; nothing of it was written.
#[derive(Debug)]
pub(super) struct Failure {
    pub kind: Kind,
    pub detail: String,
}

impl Failure {
    pub(super) fn of(self, attempted: &str) -> JournalError {
        JournalError::Failed(attempted.into(), self.kind, self.detail)
    }
}

/// What came of a verb, or of a part of it.
pub(super) type Done<T> = Result<T, Failure>;

/// What is asked or to be changed, in SQL: the values of its `$1`, `$2` and so on go beside it.
pub(super) type Sql = &'static str;

/// A statement and its values.
pub(super) type Statement = (Sql, Vec<Value>);

/// The connection that a verb has for itself. One that says more than one thing begins a transaction on it, of
/// which nothing is kept without its commit.
pub(super) type Session = PoolConnection<Sqlite>;

/// What has begun on a session: dropped without its commit, nothing of it is kept. sqlx's own counts how deep a
/// connection is in transactions, and never again rightly once SQLite has rolled one back by itself, as it does
/// where the disk is full.
pub(super) type Transaction = ScopeGuard<Session, fn(Session)>;

/// What statements are carried out on: a session, or a transaction on it.
pub(super) type Connection = SqliteConnection;

impl Backend {
    /// Asks a question.
    pub(super) async fn rows(&self, sql: Sql, values: Vec<Value>) -> Done<Vec<Row>> {
        rows(&mut *self.reader.acquire().await?, sql, values).await
    }

    /// Carries a verb out. Whoever waits for it may be dropped: before its turn, and nothing of it is done; from
    /// then on, and it is done to its end.
    #[expect(
        clippy::disallowed_methods,
        reason = "a verb is carried out to its end, whoever waited for it"
    )]
    pub(super) async fn write<T: Send + 'static, F>(
        &self,
        verb: impl FnOnce(Session) -> F,
    ) -> Done<T>
    where
        F: Future<Output = Done<T>> + Send + 'static,
    {
        // A task for each verb would cost a change of threads; only what is left of one needs it.
        let carry_on = |rest| {
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(rest);
            }
        };
        let mut verb = guard(Box::pin(verb(self.writer.acquire().await?)), carry_on);
        let done = verb.as_mut().await;
        ScopeGuard::into_inner(verb);
        done
    }

    /// Ends the connections, after what is under way.
    pub(super) async fn close(&self) {
        self.reader.close().await;
        // The last that is closed puts the log into the file.
        self.writer.close().await;
    }
}

pub(super) async fn begin(mut session: Session) -> Done<Transaction> {
    change(&mut session, "BEGIN", vec![]).await?;
    Ok(guard(session, roll_back))
}

pub(super) async fn commit(mut transaction: Transaction) -> Done<()> {
    change(&mut transaction, "COMMIT", vec![]).await?;
    drop(ScopeGuard::into_inner(transaction));
    Ok(())
}

/// Carries out all of these statements, or none, in one exchange with the database.
pub(super) async fn all(session: Session, statements: Vec<Statement>) -> Done<()> {
    let (sql, values) = file::in_one_transaction(statements);
    let mut transaction = guard(session, roll_back as fn(Session));
    query(AssertSqlSafe(sql), values).execute(&mut **transaction).await?;
    drop(ScopeGuard::into_inner(transaction));
    Ok(())
}

/// The next verb has its turn when the session is given back, after this.
#[expect(clippy::disallowed_methods, reason = "nothing waits for it but the next verb")]
fn roll_back(mut session: Session) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            // It fails where SQLite has done it by itself.
            drop(change(&mut session, "ROLLBACK", vec![]).await);
        });
    }
}

/// Carries a statement out; returns how many rows it has changed.
pub(super) async fn change(on: &mut Connection, sql: Sql, values: Vec<Value>) -> Done<u64> {
    Ok(query(sql, values).execute(on).await?.rows_affected())
}

/// The rows of an answer.
pub(super) async fn rows(on: &mut Connection, sql: Sql, values: Vec<Value>) -> Done<Vec<Row>> {
    Ok(query(sql, values).fetch_all(on).await?.into_iter().map(Row).collect())
}

fn query(sql: impl SqlSafeStr, values: Vec<Value>) -> Query<'static, Sqlite, SqliteArguments> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Number(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    })
}

/// A value as it is stored: there are no columns of other types.
#[derive(Debug)]
pub(super) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
}

/// A number; the greatest that there is for one that is greater.
pub(super) fn number(number: impl TryInto<i64>) -> Value {
    Value::Number(Some(number.try_into().unwrap_or(i64::MAX)))
}

/// A time, in milliseconds since 1970.
pub(super) fn time(time: impl Into<Option<Timestamp>>) -> Value {
    Value::Number(time.into().map(Timestamp::as_millisecond))
}

pub(super) fn text(text: impl ToString) -> Value {
    Value::Text(Some(text.to_string()))
}

/// A row of an answer. In place of what is none of ours, as somebody with a shell may have left it, there is
/// nothing.
pub(super) struct Row(SqliteRow);

impl Row {
    pub(super) fn number(&self, column: &str) -> Option<i64> {
        // SQLite would make a zero of what is missing.
        self.0.try_get::<Option<_>, _>(column).ok()?
    }

    /// A count; zero for what is none.
    pub(super) fn count<T: TryFrom<i64> + Default>(&self, column: &str) -> T {
        self.number(column).and_then(|number| number.try_into().ok()).unwrap_or_default()
    }

    pub(super) fn money(&self, column: &str) -> Usd {
        Usd::from_picodollars(self.count(column))
    }

    /// The number of a step or of a post within its run.
    pub(super) fn row_number(&self) -> Option<u32> {
        self.number("number")?.try_into().ok()
    }

    pub(super) fn time(&self, column: &str) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.number(column)?).ok()
    }

    /// A text, or what is wrong with it.
    pub(super) fn text(&self, column: &str) -> Result<String, String> {
        let text = self.0.try_get::<Option<_>, _>(column).map_err(|error| error.to_string())?;
        text.ok_or_else(|| format!("there is no {column}"))
    }

    pub(super) fn run(&self, column: &str) -> Result<RunId, String> {
        RunId::parse(&self.text(column)?).map_err(|error| error.to_string())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self { kind: file::kind_of(&error), detail: error.to_string() }
    }
}
