//! The outbox: the exact bytes of every post to mana-auth, until mana-auth has confirmed the post.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{Journal, Result, Row, Sql, Statement, Value, number, text, time};
pub use crate::clients::personas::Kind as PostKind;
use crate::{clients::personas::Batch, domain::RunId};

/// How many runs with due posts one query returns at most.
const MAX_DUE: u32 = 500;
/// How many posts a list has at most.
const MAX_LIST: u32 = 1_000;
const READ: &str = "read the outbox";

/// The key of a post: its run and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PostKey {
    /// The run whose rows the post has.
    pub run: RunId,
    /// The position among the posts of the run, from 0.
    pub number: u32,
}

/// A post that mana-auth has not confirmed yet.
#[derive(Clone, Debug)]
pub struct Post {
    /// The run of the post, and its number there.
    pub key: PostKey,
    /// The id of the persona whose rows these are.
    pub persona: String,
    /// The word of a [`PostKind`]. Another version of this program may have written another word.
    pub kind: String,
    /// The number of rows in the body.
    pub rows: usize,
    /// The body of the request, which every attempt sends unchanged.
    pub body: String,
    /// The number of failed attempts. [`Journal::retry_posts`] sets it to 0.
    pub attempts: u32,
    /// When the next attempt is due.
    pub next_try_at: Timestamp,
    /// Whether mana-auth has refused the post for good.
    pub is_dead: bool,
    /// Why the last attempt failed; `None` before the first attempt.
    pub reason: Option<String>,
}

/// The content of the outbox, in numbers of posts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxDepth {
    /// Posts of actions that are not refused.
    pub actions: u64,
    /// Posts of feedback that are not refused.
    pub feedback: u64,
    /// Posts that mana-auth has refused for good.
    pub dead: u64,
    /// When the oldest post that is not refused was written.
    pub oldest: Option<Timestamp>,
}

impl Journal {
    /// The runs that have something to post: their first post that is not refused is due at `now`, or was tried in
    /// the future, because the clock was ahead then.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn runs_with_due_posts(&self, now: Timestamp) -> Result<Vec<RunId>> {
        let sql = "SELECT run_id FROM outbox WHERE is_dead = 0 \
             AND (next_try_at <= $1 OR tried_at > $1) \
             AND NOT EXISTS (SELECT 1 FROM outbox AS earlier \
             WHERE earlier.run_id = outbox.run_id AND earlier.is_dead = 0 \
             AND earlier.number < outbox.number) ORDER BY next_try_at, run_id LIMIT $2";
        let rows = self.rows(READ, sql, vec![time(now), number(MAX_DUE)]).await?;
        Ok(rows.iter().filter_map(|row| row.run("run_id").ok()).collect())
    }

    /// The first post of a run that is not refused, if it is due in the sense of [`Journal::runs_with_due_posts`].
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn due_post(&self, run: RunId, now: Timestamp) -> Result<Option<Post>> {
        let sql = "SELECT * FROM (SELECT * FROM outbox WHERE run_id = $1 AND is_dead = 0 \
             ORDER BY number LIMIT 1) AS earliest WHERE next_try_at <= $2 OR tried_at > $2";
        Ok(self.posts(sql, vec![text(run), time(now)]).await?.pop())
    }

    /// The posts of all runs, refused ones first, then ordered by age; at most 1,000.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn kept_posts(&self) -> Result<Vec<Post>> {
        let sql = "SELECT * FROM outbox ORDER BY is_dead DESC, created_at, run_id, number LIMIT $1";
        self.posts(sql, vec![number(MAX_LIST)]).await
    }

    /// All posts of a run in order, refused ones included.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn kept_posts_of(&self, run: RunId) -> Result<Vec<Post>> {
        self.posts("SELECT * FROM outbox WHERE run_id = $1 ORDER BY number", vec![text(run)]).await
    }

    async fn posts(&self, sql: Sql, values: Vec<Value>) -> Result<Vec<Post>> {
        Ok(self.readable("the outbox", &self.rows(READ, sql, values).await?, read))
    }

    /// The runs with posts that mana-auth has refused for good.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn runs_with_dead_posts(&self) -> Result<HashSet<RunId>> {
        let sql = "SELECT DISTINCT run_id FROM outbox WHERE is_dead = 1";
        let rows = self.rows(READ, sql, vec![]).await?;
        Ok(rows.iter().filter_map(|row| row.run("run_id").ok()).collect())
    }

    /// The numbers of a run's posts that are not refused. `None` is a number that cannot be read.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) async fn numbers_of_posts(&self, run: RunId) -> Result<Vec<Option<u32>>> {
        let sql = "SELECT number FROM outbox WHERE run_id = $1 AND is_dead = 0";
        let rows = self.rows(READ, sql, vec![text(run)]).await?;
        Ok(rows.iter().map(Row::row_number).collect())
    }

    /// Deletes a post that mana-auth has confirmed.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn confirm_post(&self, key: PostKey) -> Result<()> {
        let sql = "DELETE FROM outbox WHERE run_id = $1 AND number = $2";
        self.change("note a delivery", sql, vec![text(key.run), number(key.number)]).await
    }

    /// Notes that an attempt failed for this reason and that the next one is due at `next`.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn postpone_post(
        &self,
        key: PostKey,
        reason: &str,
        now: Timestamp,
        next: Timestamp,
    ) -> Result<()> {
        let sql = "UPDATE outbox SET attempts = attempts + 1, reason = $3, tried_at = $4, \
             next_try_at = $5 WHERE run_id = $1 AND number = $2";
        let values = vec![text(key.run), number(key.number), text(reason), time(now), time(next)];
        self.change("postpone a delivery", sql, values).await
    }

    /// Notes that mana-auth has refused a post for good. Only a command makes the daemon send it again.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn bury_post(&self, key: PostKey, reason: &str, now: Timestamp) -> Result<()> {
        let sql = "UPDATE outbox SET attempts = attempts + 1, reason = $3, tried_at = $4, is_dead = 1 \
             WHERE run_id = $1 AND number = $2";
        let values = vec![text(key.run), number(key.number), text(reason), time(now)];
        self.change("note a refused delivery", sql, values).await
    }

    /// Makes all posts due at `now`, refused ones included, and returns their number.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn retry_posts(&self, now: Timestamp) -> Result<usize> {
        let sql = "UPDATE outbox SET is_dead = 0, attempts = 0, tried_at = $1, next_try_at = $1 \
             RETURNING number";
        Ok(self.write("mark deliveries", vec![(sql.into(), vec![time(now)])]).await?.len())
    }

    /// Deletes the posts of a run that mana-auth has refused for good, and returns their number. From then on the
    /// run does not count as successful.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub(crate) async fn discard_dead_posts(&self, run: RunId) -> Result<usize> {
        // The run ended in the stage that would have posted the refused rows.
        const MARK: &str = "UPDATE runs SET stage = (SELECT 'post_' || MIN(kind) FROM outbox \
             WHERE run_id = $1 AND is_dead = 1) WHERE id = $1 AND stage = 'done' AND EXISTS \
             (SELECT 1 FROM outbox WHERE run_id = $1 AND is_dead = 1)";
        const DISCARD: &str =
            "DELETE FROM outbox WHERE run_id = $1 AND is_dead = 1 RETURNING number";
        let statements = [MARK, DISCARD].map(|sql| (sql.into(), vec![text(run)]));
        Ok(self.write("throw refused deliveries away", statements.into()).await?.len())
    }

    /// Counts the posts in the outbox.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn outbox_depth(&self) -> Result<OutboxDepth> {
        let sql = "SELECT COUNT(*) FILTER (WHERE is_dead = 0 AND kind <> 'feedback') AS actions, \
             COUNT(*) FILTER (WHERE is_dead = 0 AND kind = 'feedback') AS feedback, \
             COUNT(*) FILTER (WHERE is_dead <> 0) AS dead, \
             MIN(created_at) FILTER (WHERE is_dead = 0) AS oldest FROM outbox";
        let rows = self.rows("count the outbox", sql, vec![]).await?;
        let depth = rows.first().map(|row| OutboxDepth {
            actions: row.count("actions"),
            feedback: row.count("feedback"),
            dead: row.count("dead"),
            oldest: row.time("oldest"),
        });
        Ok(depth.unwrap_or_default())
    }
}

/// The statement that adds a post to a run that has not ended. A post with this number stays as it is: an attempt that
/// seemed to fail may have written it.
pub(super) fn addition(run: RunId, post_number: u32, batch: &Batch, now: Timestamp) -> Statement {
    const ADD: &str = "INSERT INTO outbox (run_id, number, persona_id, kind, row_count, body, attempts, \
         created_at, tried_at, next_try_at, is_dead) \
         SELECT id, $2, persona_id, $3, $4, $5, 0, $6, $6, $6, 0 FROM runs \
         WHERE id = $1 AND state IN ('running', 'rating_owed') ON CONFLICT DO NOTHING";
    let (kind, body) = (batch.kind.as_str(), String::from_utf8_lossy(&batch.body));
    let values =
        vec![text(run), number(post_number), text(kind), number(batch.rows), text(body), time(now)];
    (ADD.into(), values)
}

fn read(row: &Row) -> std::result::Result<Post, String> {
    let number = row.row_number().ok_or("its number is none of a post")?;
    Ok(Post {
        key: PostKey { run: row.run("run_id")?, number },
        persona: row.text("persona_id")?,
        kind: row.text("kind")?,
        rows: row.count("row_count"),
        body: row.text("body")?,
        attempts: row.count("attempts"),
        next_try_at: row.time("next_try_at").unwrap_or_default(),
        is_dead: row.number("is_dead") != Some(0),
        reason: row.text("reason").ok(),
    })
}
