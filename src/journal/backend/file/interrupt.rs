//! Breaking off what a connection executes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use sqlx::{Connection, SqliteConnection};

/// After how many instructions of its machine SQLite looks whether the statement is to be broken off: some ten
/// microseconds.
const INSTRUCTIONS: i32 = 1_000;

/// Breaks off the statement that a connection executes. Otherwise the thread of the connection would go on with it,
/// although nobody waits for its rows.
#[derive(Clone, Debug, Default)]
pub(in crate::journal) struct Interrupt {
    is_raised: Arc<AtomicBool>,
}

impl Interrupt {
    /// The interrupt of this connection.
    pub(in crate::journal) async fn of(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        let interrupt = Self::default();
        let is_raised = interrupt.is_raised.clone();
        let goes_on = move || !is_raised.load(Relaxed);
        connection.lock_handle().await?.set_progress_handler(INSTRUCTIONS, goes_on);
        Ok(interrupt)
    }

    /// Breaks off the statement that is being executed.
    pub(in crate::journal) fn raise(self) {
        self.is_raised.store(true, Relaxed);
    }

    /// Waits until a statement that was broken off has ended, and lets the next one be executed.
    pub(in crate::journal) async fn settle(
        &self,
        connection: &mut SqliteConnection,
    ) -> sqlx::Result<()> {
        if self.is_raised.load(Relaxed) {
            // The thread of the connection answers after the statement.
            connection.ping().await?;
            self.is_raised.store(false, Relaxed);
        }
        Ok(())
    }
}
