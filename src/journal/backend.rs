//! What verbs are carried out on: sessions, and the values and rows that go through them. SQLite is behind
//! them; Postgres is to stand beside it, and no verb to know which it is.

mod file;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::{
    Connection, Row as _, SqlSafeStr, SqlStr, Sqlite, SqliteConnection, SqlitePool,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{JournalError, Kind};
use crate::domain::{RunId, Usd};
pub use file::FILE_NAME;
use file::Place;

/// Where a journal is kept. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    /// SQLite has one writer.
    writer: SqlitePool,
    /// Opened with the first question: who reads neither waits for a write nor holds one up.
    reader: SqlitePool,
    /// Of a journal in a file, that this process has for itself.
    pub place: Option<Arc<Place>>,
}

/// A verb failed; nothing of it was written.
#[derive(Debug)]
pub(super) struct Failure {
    pub kind: Kind,
    pub detail: String,
}

impl Failure {
    pub fn of(self, attempted: &'static str) -> JournalError {
        JournalError::Failed { attempted, kind: self.kind, detail: self.detail }
    }
}

/// What is done or left as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Each statement: of verbs that write with one alone.
    Statement,
    /// All statements of a verb.
    Transaction,
}

/// What becomes of a transaction.
pub(super) enum End<T> {
    Commit(T),
    /// Nothing of it is kept.
    RollBack(T),
}

/// The statements of a verb, on its way.
pub(super) type Verb<'s, T> = BoxFuture<'s, Result<End<T>, Failure>>;

impl Backend {
    /// Asks a question.
    pub async fn rows(
        &self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, Failure> {
        let mut connection = self.reader.acquire().await?;
        Session(&mut connection).rows(sql, values).await
    }

    /// Carries a verb out. Whoever waits for it may be dropped: before its turn, and nothing of it is done; from
    /// then on, and it is done to its end.
    #[expect(
        clippy::disallowed_methods,
        reason = "a verb is carried out to its end, whoever waited for it"
    )]
    pub async fn write<T: Send + 'static>(
        &self,
        unit: Unit,
        verb: impl for<'s> FnOnce(Session<'s>) -> Verb<'s, T> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut connection = self.writer.acquire().await?;
        let work = async move {
            if unit == Unit::Statement {
                let (End::Commit(done) | End::RollBack(done)) =
                    verb(Session(&mut connection)).await?;
                return Ok(done);
            }
            let mut transaction = connection.begin().await?;
            match verb(Session(&mut transaction)).await? {
                End::Commit(done) => Ok(transaction.commit().await.map(|()| done)?),
                End::RollBack(done) => Ok(transaction.rollback().await.map(|()| done)?),
            }
        };
        let ended = tokio::spawn(work).await;
        ended.unwrap_or_else(|error| Err(Failure { kind: Kind::Other, detail: error.to_string() }))
    }

    /// For tests that do what somebody with a shell would.
    #[cfg(test)]
    pub fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// Ends the connections, after what is under way.
    pub async fn close(&self) {
        self.reader.close().await;
        // The last that is closed puts the log into the file.
        self.writer.close().await;
    }
}

/// A connection, for one verb.
pub(super) struct Session<'c>(&'c mut SqliteConnection);

impl Session<'_> {
    /// Carries a statement out; returns how many rows it has changed.
    pub async fn change(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, Failure> {
        let done = query(sql.into_sql_str(), values).execute(&mut *self.0).await?;
        Ok(done.rows_affected())
    }

    /// The rows of an answer.
    pub async fn rows(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, Failure> {
        let rows = query(sql.into_sql_str(), values).fetch_all(&mut *self.0).await?;
        Ok(rows.into_iter().map(Row).collect())
    }
}

fn query<'q>(sql: SqlStr, values: Vec<Value>) -> Query<'q, Sqlite, SqliteArguments> {
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
    pub fn number(&self, column: &str) -> Option<i64> {
        // SQLite would make a zero of what is missing.
        self.0.try_get::<Option<_>, _>(column).ok()?
    }

    /// A count; zero for what is none.
    pub fn count<T: TryFrom<i64> + Default>(&self, column: &str) -> T {
        self.number(column).and_then(|number| number.try_into().ok()).unwrap_or_default()
    }

    pub fn money(&self, column: &str) -> Usd {
        Usd::from_picodollars(self.count(column))
    }

    pub fn time(&self, column: &str) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.number(column)?).ok()
    }

    /// A text, or what is wrong with it.
    pub fn text(&self, column: &str) -> Result<String, String> {
        let text = self.0.try_get::<Option<_>, _>(column).map_err(|error| error.to_string())?;
        text.ok_or_else(|| format!("there is no {column}"))
    }

    pub fn run(&self, column: &str) -> Result<RunId, String> {
        RunId::parse(&self.text(column)?).map_err(|error| error.to_string())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self { kind: file::kind_of(&error), detail: error.to_string() }
    }
}
