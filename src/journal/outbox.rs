//! The outbox: the exact bytes of every post to mana-auth until it has confirmed them.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{
    Journal, Result, Row, Sql, Statement, Value, begin, change, commit, number, text, time,
};
pub use crate::clients::personas::Kind as PostKind;
use crate::{clients::personas::Batch, domain::RunId};

/// Runs looked up at once.
const MAX_DUE: u32 = 500;
/// Posts that a list holds.
const MAX_LIST: u32 = 1_000;
const READ: &str = "read the outbox";

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
    pub(crate) async fn runs_with_due_posts(&self, now: Timestamp) -> Result<Vec<RunId>> {
        let sql = "SELECT run_id FROM outbox WHERE is_dead = 0 \
             AND (next_try_at <= $1 OR tried_at > $1) \
             AND NOT EXISTS (SELECT 1 FROM outbox AS earlier \
             WHERE earlier.run_id = outbox.run_id AND earlier.is_dead = 0 \
             AND earlier.number < outbox.number) ORDER BY next_try_at, run_id LIMIT $2";
        let rows = self.rows(READ, sql, vec![time(now), number(MAX_DUE)]).await?;
        Ok(rows.iter().filter_map(|row| row.run("run_id").ok()).collect())
    }

    /// The first post of a run that is on its way, if it is due as above.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn due_post(&self, run: RunId, now: Timestamp) -> Result<Option<Post>> {
        let sql = "SELECT * FROM (SELECT * FROM outbox WHERE run_id = $1 AND is_dead = 0 \
             ORDER BY number LIMIT 1) AS earliest WHERE next_try_at <= $2 OR tried_at > $2";
        Ok(self.posts(sql, vec![text(run), time(now)]).await?.pop())
    }

    /// The first posts of all that are kept, refused ones first, then in the order they came.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn kept_posts(&self) -> Result<Vec<Post>> {
        let sql = "SELECT * FROM outbox ORDER BY is_dead DESC, created_at, run_id, number LIMIT $1";
        self.posts(sql, vec![number(MAX_LIST)]).await
    }

    /// All posts of a run that are kept, refused ones among them, in order.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn kept_posts_of(&self, run: RunId) -> Result<Vec<Post>> {
        self.posts("SELECT * FROM outbox WHERE run_id = $1 ORDER BY number", vec![text(run)]).await
    }

    async fn posts(&self, sql: Sql, values: Vec<Value>) -> Result<Vec<Post>> {
        Ok(self.readable("the outbox", &self.rows(READ, sql, values).await?, read))
    }

    /// The runs of which rows were refused for good and are kept.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn runs_with_dead_posts(&self) -> Result<HashSet<RunId>> {
        let sql = "SELECT DISTINCT run_id FROM outbox WHERE is_dead = 1";
        let rows = self.rows(READ, sql, vec![]).await?;
        Ok(rows.iter().filter_map(|row| row.run("run_id").ok()).collect())
    }

    /// The numbers of a run's posts that are on their way; `None` for one that is no number.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn numbers_of_posts(&self, run: RunId) -> Result<Vec<Option<u32>>> {
        let sql = "SELECT number FROM outbox WHERE run_id = $1 AND is_dead = 0";
        let rows = self.rows(READ, sql, vec![text(run)]).await?;
        Ok(rows.iter().map(Row::row_number).collect())
    }

    /// mana-auth has confirmed a post: it need not be kept.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn confirm_post(&self, key: PostKey) -> Result<()> {
        let sql = "DELETE FROM outbox WHERE run_id = $1 AND number = $2";
        self.change("note a delivery", sql, vec![text(key.run), number(key.number)]).await.map(drop)
    }

    /// An attempt failed; there will be another one at `next`.
    ///
    /// # Errors
    /// When it cannot be written.
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
        self.change("postpone a delivery", sql, values).await.map(drop)
    }

    /// A post was refused for good: it stays, and is sent again only by command.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn bury_post(&self, key: PostKey, reason: &str, now: Timestamp) -> Result<()> {
        let sql = "UPDATE outbox SET attempts = attempts + 1, reason = $3, tried_at = $4, is_dead = 1 \
             WHERE run_id = $1 AND number = $2";
        let values = vec![text(key.run), number(key.number), text(reason), time(now)];
        self.change("note a refused delivery", sql, values).await.map(drop)
    }

    /// Marks everything that is kept, refused or postponed, to be tried at once; returns how many.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn retry_posts(&self, now: Timestamp) -> Result<u64> {
        let sql = "UPDATE outbox SET is_dead = 0, attempts = 0, tried_at = $1, next_try_at = $1";
        self.change("mark deliveries", sql, vec![time(now)]).await
    }

    /// Throws away what was refused for good of a run, which is no run that went well from then on; returns
    /// how many posts.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn discard_dead_posts(&self, run: RunId) -> Result<u64> {
        // Its kind tells the stage it would have got to.
        const MARK: &str = "UPDATE runs SET stage = (SELECT 'post_' || MIN(kind) FROM outbox \
             WHERE run_id = $1 AND is_dead = 1) WHERE id = $1 AND stage = 'done' AND EXISTS \
             (SELECT 1 FROM outbox WHERE run_id = $1 AND is_dead = 1)";
        const DISCARD: &str = "DELETE FROM outbox WHERE run_id = $1 AND is_dead = 1";
        self.write("throw refused deliveries away", move |session| async move {
            let mut tx = begin(session).await?;
            change(&mut tx, MARK, vec![text(run)]).await?;
            let discarded = change(&mut tx, DISCARD, vec![text(run)]).await?;
            commit(tx).await?;
            Ok(discarded)
        })
        .await
    }

    /// How full the outbox is.
    ///
    /// # Errors
    /// When the journal cannot be read.
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

/// Adds a post to a run that has not ended. The run may have added the post before it was killed, and be closed now.
pub(super) fn addition(run: RunId, post_number: u32, batch: &Batch, now: Timestamp) -> Statement {
    const ADD: &str = "INSERT INTO outbox (run_id, number, persona_id, kind, row_count, body, attempts, \
         created_at, tried_at, next_try_at, is_dead) \
         SELECT id, $2, persona_id, $3, $4, $5, 0, $6, $6, $6, 0 FROM runs \
         WHERE id = $1 AND state IN ('running', 'rating_owed') ON CONFLICT DO NOTHING";
    let (kind, body) = (batch.kind.as_str(), String::from_utf8_lossy(&batch.body));
    let values =
        vec![text(run), number(post_number), text(kind), number(batch.rows), text(body), time(now)];
    (ADD, values)
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
