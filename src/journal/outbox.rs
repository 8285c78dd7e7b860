//! The outbox: the exact bytes of every post to mana-auth until it has confirmed them.

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::{Any, Row, Transaction, any::AnyRow};

use super::{Journal, JournalError, Result, bigint, count, int, millis, timestamp};
pub use crate::clients::personas::Kind as PostKind;
use crate::domain::RunId;

/// Runs looked up at once.
const MAX_DUE: i64 = 500;
/// Posts that a list holds.
const MAX_LIST: i64 = 1_000;

/// A post that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewPost<'a> {
    /// Its place among the run's posts, from 0.
    pub number: u32,
    /// Who the rows are of.
    pub persona: &'a str,
    /// What it holds.
    pub kind: PostKind,
    /// How many rows.
    pub rows: usize,
    /// The body, byte for byte.
    pub body: &'a str,
}

/// Names a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PostKey {
    /// The run.
    pub run: RunId,
    /// Its place among the run's posts.
    pub number: u32,
}

/// A post that was not confirmed yet.
#[derive(Clone, Debug)]
pub struct Post {
    /// Which.
    pub key: PostKey,
    /// Who the rows are of.
    pub persona: String,
    /// What it holds: a [`PostKind`], or what another version knows.
    pub kind: String,
    /// How many rows.
    pub rows: usize,
    /// The body, byte for byte.
    pub body: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it is to be tried next.
    pub next_try_at: Timestamp,
    /// Whether it was refused for good.
    pub is_dead: bool,
    /// What the last attempt came to.
    pub reason: Option<String>,
}

/// How full the outbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxDepth {
    /// Posts of actions on their way.
    pub actions: u64,
    /// Posts of feedback on their way.
    pub feedback: u64,
    /// Posts refused for good.
    pub dead: u64,
    /// When the oldest on its way was written down.
    pub oldest: Option<Timestamp>,
}

impl Journal {
    /// The runs of which something is to be posted now: whose first post on its way is due at `now`, or
    /// was written down or tried by a clock that was ahead of this one.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn runs_with_due_posts(&self, now: Timestamp) -> Result<Vec<RunId>> {
        let rows = self
            .read("read the outbox", async {
                sqlx::query(
                    "SELECT run_id FROM outbox WHERE is_dead = 0 \
                     AND (next_try_at <= $1 OR tried_at > $1) \
                     AND NOT EXISTS (SELECT 1 FROM outbox AS earlier \
                     WHERE earlier.run_id = outbox.run_id AND earlier.is_dead = 0 \
                     AND earlier.number < outbox.number) ORDER BY next_try_at, run_id LIMIT $2",
                )
                .bind(millis(now))
                .bind(MAX_DUE)
                .fetch_all(&self.pool)
                .await?
                .iter()
                .map(|row| row.try_get::<String, _>(0))
                .collect::<sqlx::Result<Vec<_>>>()
            })
            .await?;
        Ok(rows.iter().filter_map(|run| RunId::parse(run).ok()).collect())
    }

    /// The first post of a run that is on its way, if it is due as above.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn due_post(&self, run: RunId, now: Timestamp) -> Result<Option<Post>> {
        let rows = self
            .read("read the outbox", async {
                sqlx::query(
                    "SELECT * FROM (SELECT * FROM outbox WHERE run_id = $1 AND is_dead = 0 \
                     ORDER BY number LIMIT 1) AS earliest WHERE next_try_at <= $2 OR tried_at > $2",
                )
                .bind(run.to_string())
                .bind(millis(now))
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        Ok(rows.iter().find_map(|row| self.readable(row, read)))
    }

    /// The first posts of all that are kept, refused ones first, then in the order they came.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn kept_posts(&self) -> Result<Vec<Post>> {
        let rows = self
            .read("read the outbox", async {
                sqlx::query(
                    "SELECT * FROM outbox ORDER BY is_dead DESC, created_at, run_id, number LIMIT $1",
                )
                .bind(MAX_LIST)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        Ok(rows.iter().filter_map(|row| self.readable(row, read)).collect())
    }

    /// All posts of a run that are kept, refused ones among them, in order.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn kept_posts_of(&self, run: RunId) -> Result<Vec<Post>> {
        let rows = self
            .read("read the outbox", async {
                sqlx::query("SELECT * FROM outbox WHERE run_id = $1 ORDER BY number")
                    .bind(run.to_string())
                    .fetch_all(&self.pool)
                    .await
            })
            .await?;
        Ok(rows.iter().filter_map(|row| self.readable(row, read)).collect())
    }

    /// The runs of which rows were refused for good and are kept.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn runs_with_dead_posts(&self) -> Result<HashSet<RunId>> {
        let rows = self
            .read("read the outbox", async {
                sqlx::query("SELECT DISTINCT run_id FROM outbox WHERE is_dead = 1")
                    .fetch_all(&self.pool)
                    .await?
                    .iter()
                    .map(|row| row.try_get::<String, _>(0))
                    .collect::<sqlx::Result<Vec<_>>>()
            })
            .await?;
        Ok(rows.iter().filter_map(|run| RunId::parse(run).ok()).collect())
    }

    /// The numbers of a run's posts that are on their way; `None` for one that is no number.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn numbers_of_posts(&self, run: RunId) -> Result<Vec<Option<u32>>> {
        let rows = self
            .read("read the outbox", async {
                sqlx::query("SELECT number FROM outbox WHERE run_id = $1 AND is_dead = 0")
                    .bind(run.to_string())
                    .fetch_all(&self.pool)
                    .await
            })
            .await?;
        Ok(rows.iter().map(|row| u32::try_from(int(row, "number")?).ok()).collect())
    }

    /// mana-auth has confirmed a post: it need not be kept.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn confirm_post(&self, key: PostKey) -> Result<()> {
        self.write("note a delivery", async {
            sqlx::query("DELETE FROM outbox WHERE run_id = $1 AND number = $2")
                .bind(key.run.to_string())
                .bind(bigint(key.number))
                .execute(&self.pool)
                .await
        })
        .await?;
        Ok(())
    }

    /// An attempt failed; there will be another one at `next_try_at`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn postpone_post(
        &self,
        key: PostKey,
        reason: &str,
        now: Timestamp,
        next_try_at: Timestamp,
    ) -> Result<()> {
        self.write("postpone a delivery", async {
            sqlx::query(
                "UPDATE outbox SET attempts = attempts + 1, reason = $3, tried_at = $4, \
                 next_try_at = $5 WHERE run_id = $1 AND number = $2",
            )
            .bind(key.run.to_string())
            .bind(bigint(key.number))
            .bind(reason)
            .bind(millis(now))
            .bind(millis(next_try_at))
            .execute(&self.pool)
            .await
        })
        .await?;
        Ok(())
    }

    /// A post was refused for good: it stays, and is sent again only by command.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn bury_post(&self, key: PostKey, reason: &str, now: Timestamp) -> Result<()> {
        self.write("note a refused delivery", async {
            sqlx::query(
                "UPDATE outbox SET attempts = attempts + 1, reason = $3, tried_at = $4, is_dead = 1 \
                 WHERE run_id = $1 AND number = $2",
            )
            .bind(key.run.to_string())
            .bind(bigint(key.number))
            .bind(reason)
            .bind(millis(now))
            .execute(&self.pool)
            .await
        })
        .await?;
        Ok(())
    }

    /// Marks everything that is kept, refused or postponed, to be tried at once; returns how many.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn retry_posts(&self, now: Timestamp) -> Result<u64> {
        let done = self
            .write("mark deliveries", async {
                sqlx::query(
                    "UPDATE outbox SET is_dead = 0, attempts = 0, tried_at = $1, next_try_at = $1",
                )
                .bind(millis(now))
                .execute(&self.pool)
                .await
            })
            .await?;
        Ok(done.rows_affected())
    }

    /// Throws away what was refused for good of a run, which is no run that went well from then on; returns
    /// how many posts.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn discard_dead_posts(&self, run: RunId) -> Result<u64> {
        let done = self
            .write("throw refused deliveries away", async {
                // Its kind tells the stage it would have got to.
                sqlx::query(
                    "UPDATE runs SET stage = (SELECT 'post_' || MIN(kind) FROM outbox WHERE run_id = $1 \
                     AND is_dead = 1) WHERE id = $1 AND stage = 'done' AND EXISTS (SELECT 1 FROM outbox \
                     WHERE run_id = $1 AND is_dead = 1)",
                )
                .bind(run.to_string())
                .execute(&self.pool)
                .await?;
                sqlx::query("DELETE FROM outbox WHERE run_id = $1 AND is_dead = 1")
                    .bind(run.to_string())
                    .execute(&self.pool)
                    .await
            })
            .await?;
        Ok(done.rows_affected())
    }

    /// How full the outbox is.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn outbox_depth(&self) -> Result<OutboxDepth> {
        self.read("count the outbox", async {
            let rows = sqlx::query(
                "SELECT kind, is_dead, COUNT(*) AS posts, MIN(created_at) AS oldest FROM outbox \
                 GROUP BY kind, is_dead",
            )
            .fetch_all(&self.pool)
            .await?;
            let mut depth = OutboxDepth::default();
            for row in &rows {
                let posts: u64 = count(int(row, "posts").unwrap_or_default());
                if int(row, "is_dead").unwrap_or_default() != 0 {
                    depth.dead += posts;
                    continue;
                }
                match row.try_get::<String, _>("kind").as_deref() {
                    Ok("feedback") => depth.feedback += posts,
                    _ => depth.actions += posts,
                }
                let oldest = timestamp(int(row, "oldest").unwrap_or_default());
                depth.oldest = Some(depth.oldest.map_or(oldest, |other| other.min(oldest)));
            }
            Ok(depth)
        })
        .await
    }
}

pub(super) async fn insert(
    tx: &mut Transaction<'_, Any>,
    run: RunId,
    posts: &[NewPost<'_>],
    now: Timestamp,
) -> sqlx::Result<()> {
    for post in posts {
        // A run that is closed after a kill may have got this far before it.
        sqlx::query(
            "INSERT INTO outbox (run_id, number, persona_id, kind, row_count, body, attempts, \
             created_at, tried_at, next_try_at, is_dead) \
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $7, $7, 0) ON CONFLICT DO NOTHING",
        )
        .bind(run.to_string())
        .bind(bigint(post.number))
        .bind(post.persona)
        .bind(post.kind.as_str())
        .bind(bigint(post.rows))
        .bind(post.body)
        .bind(millis(now))
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

fn read(row: &AnyRow) -> Result<Post> {
    let wrong = |detail: String| JournalError::Row { what: "the outbox", detail };
    let text =
        |column: &str| row.try_get::<String, _>(column).map_err(|error| wrong(error.to_string()));
    let number = |column| int(row, column).unwrap_or_default();
    let run = RunId::parse(&text("run_id")?).map_err(|error| wrong(error.to_string()))?;
    let place = int(row, "number").and_then(|number| u32::try_from(number).ok());
    let place = place.ok_or_else(|| wrong("its number is none of a post".into()))?;
    Ok(Post {
        key: PostKey { run, number: place },
        persona: text("persona_id")?,
        kind: text("kind")?,
        rows: count(number("row_count")),
        body: text("body")?,
        attempts: count(number("attempts")),
        created_at: timestamp(number("created_at")),
        next_try_at: timestamp(number("next_try_at")),
        is_dead: number("is_dead") != 0,
        reason: text("reason").ok(),
    })
}
