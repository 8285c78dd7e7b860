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
    place: Option<Arc<Place>>,
}

/// A verb failed; nothing of it was written.
#[derive(Debug)]
pub(super) struct Failure {
    pub kind: Kind,
    pub detail: String,
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

    /// Carries out one statement; returns how many rows it has changed.
    pub async fn change(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, Failure> {
        let mut connection = self.writer.acquire().await?;
        let work = async move { Session(&mut connection).change(sql, values).await };
        tokio::spawn(work).await?
    }

    /// Carries out a transaction.
    pub async fn transact<T: Send + 'static>(
        &self,
        verb: impl for<'s> FnOnce(Session<'s>) -> Verb<'s, T> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut connection = self.writer.acquire().await?;
        // Whoever waits may be dropped: before, and nothing is done; from here on, and it is done to its end.
        let work = async move {
            let mut transaction = connection.begin().await?;
            match verb(Session(&mut transaction)).await? {
                End::Commit(done) => transaction.commit().await.map(|()| done),
                End::RollBack(done) => transaction.rollback().await.map(|()| done),
            }
            .map_err(Failure::from)
        };
        tokio::spawn(work).await?
    }

    /// For tests that do what somebody with a shell would.
    #[cfg(test)]
    pub fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// Why what is written is of no use, if so.
    pub fn trouble(&self) -> Option<JournalError> {
        self.place.as_ref()?.trouble()
    }

    /// Leaves the place to others.
    pub fn unlock(&self) {
        self.place.iter().for_each(|place| place.unlock());
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

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        i64::from(number).into()
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        i64::try_from(number).unwrap_or(i64::MAX).into()
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Some(time).into()
    }
}

/// Milliseconds since 1970.
impl From<Option<Timestamp>> for Value {
    fn from(time: Option<Timestamp>) -> Self {
        Self::Number(time.map(Timestamp::as_millisecond))
    }
}

impl From<RunId> for Value {
    fn from(id: RunId) -> Self {
        id.to_string().into()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Some(text).into()
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

/// A row of an answer. In place of what is none of ours, as somebody with a shell may have left it, there is
/// nothing.
pub(super) struct Row(SqliteRow);

impl Row {
    pub fn number(&self, column: &str) -> Option<i64> {
        self.0.try_get(column).ok()
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
        self.0.try_get(column).map_err(|error| error.to_string())
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

impl From<tokio::task::JoinError> for Failure {
    fn from(error: tokio::task::JoinError) -> Self {
        Self { kind: Kind::Other, detail: error.to_string() }
    }
}
