//! One connection, which is opened when it is needed.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use scopeguard::{ScopeGuard, guard};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, SqlSafeStr, SqliteConnection,
    sqlite::SqliteConnectOptions,
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard},
    time::{Instant, sleep, timeout},
};

use super::{LONG_SQL, Row, Value, bound, file::Interrupt, rows};
use crate::journal::LIMIT;

/// One connection, opened when it is first needed. It is not in a pool: whenever a connection comes back, a pool of
/// sqlx asks the database for a sign of life, which is one exchange more. Clones share the connection.
#[derive(Clone, Debug)]
pub(in crate::journal) struct Held {
    options: SqliteConnectOptions,
    /// How long the connection stays open after its last use; `None` if it stays open until the journal is closed.
    kept_for: Option<Duration>,
    slot: Arc<Mutex<Slot>>,
}

#[derive(Debug)]
pub(in crate::journal) struct Slot {
    /// `None` before the first use, after the connection broke, and after it was closed because nobody used it: the
    /// next session opens another one.
    connection: Option<SqliteConnection>,
    /// Breaks off what the connection executes for a caller that was dropped; `None` if that is completed.
    interrupt: Option<Interrupt>,
    /// When the last session began.
    used_at: Instant,
    is_closed: bool,
}

/// A connection in use.
pub(super) type Session = OwnedMutexGuard<Slot>;

impl Held {
    /// A connection that stays open until the journal is closed.
    pub(super) fn of(options: SqliteConnectOptions) -> Self {
        Self::kept(options, None)
    }

    /// A connection for queries of people who may go away: it is closed when nobody has used it for so long, and a query
    /// whose caller is dropped is broken off.
    pub(super) fn on_demand(options: SqliteConnectOptions, kept_for: Duration) -> Self {
        Self::kept(options, Some(kept_for))
    }

    fn kept(options: SqliteConnectOptions, kept_for: Option<Duration>) -> Self {
        let (connection, interrupt, is_closed) = (None, None, false);
        let slot = Slot { connection, interrupt, used_at: Instant::now(), is_closed };
        Self { options, kept_for, slot: Arc::new(Mutex::new(slot)) }
    }

    /// The connection, for the caller alone.
    pub(in crate::journal) async fn session(&self) -> sqlx::Result<Session> {
        let mut session = self.slot.clone().lock_owned().await;
        if session.is_closed {
            return Err(sqlx::Error::PoolClosed);
        }
        session.used_at = Instant::now();
        if session.connection.is_none() {
            let mut connection = self.options.connect().await?;
            if let Some(kept_for) = self.kept_for {
                session.interrupt = Some(Interrupt::of(&mut connection).await?);
                close_when_unused(Arc::downgrade(&self.slot), kept_for);
            }
            session.connection = Some(connection);
        }
        Ok(session)
    }

    /// Executes SQL that is no part of a transaction.
    pub(in crate::journal) async fn execute(&self, sql: String) -> sqlx::Result<()> {
        self.session().await?.connection()?.execute(AssertSqlSafe(sql)).await.map(drop)
    }

    pub(super) async fn close(&self) {
        let mut session = self.slot.lock().await;
        session.is_closed = true;
        if let Some(connection) = session.connection.take() {
            // SQLite moves the log into the database file when the last connection is closed.
            let _ = connection.close().await;
        }
    }

    /// Whether the connection is open.
    #[cfg(test)]
    pub(super) async fn is_open(&self) -> bool {
        self.slot.lock().await.connection.is_some()
    }
}

/// Closes the connection when nobody has used it for the time `kept_for`.
#[expect(clippy::disallowed_methods, reason = "nobody waits for a connection that is not used")]
fn close_when_unused(slot: Weak<Mutex<Slot>>, kept_for: Duration) {
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(async move {
        let mut wait = kept_for;
        loop {
            sleep(wait).await;
            let Some(slot) = slot.upgrade() else { return };
            wait = kept_for;
            // Who has the slot uses the connection now.
            let Ok(mut slot) = slot.try_lock() else { continue };
            let unused_for = slot.used_at.elapsed();
            if unused_for < kept_for {
                wait = kept_for - unused_for;
                continue;
            }
            let unused = slot.connection.take();
            drop(slot);
            if let Some(connection) = unused {
                let _ = timeout(LIMIT, connection.close()).await;
            }
            return;
        }
    });
}

impl Slot {
    pub(in crate::journal) fn connection(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Executes a text of `count` statements. An error that is not the database's own means that the connection is
    /// broken.
    pub(super) async fn rows(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
        count: usize,
    ) -> sqlx::Result<Vec<Row>> {
        let sql = sql.into_sql_str();
        // A compiled text is kept for the next time, but a long one differs each time.
        let query = bound(sql.clone(), values).persistent(sql.as_str().len() < LONG_SQL);
        let interrupt = self.interrupt.clone();
        let connection = self.connection()?;
        let broken_off = match interrupt {
            Some(interrupt) => {
                interrupt.settle(connection).await?;
                Some(guard(interrupt, Interrupt::raise))
            }
            None => None,
        };
        let rows = rows(connection, query, count).await;
        broken_off.map(ScopeGuard::into_inner);
        if rows.as_ref().is_err_and(|error| error.as_database_error().is_none()) {
            self.connection = None;
        }
        rows
    }
}
