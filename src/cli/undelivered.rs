//! Prints and changes the posts in the outbox: those that wait for delivery and those that were refused for
//! good.

use jiff::Timestamp;

use super::{
    runs::{PERSONA, persona},
    text::{cell, counted, table},
};
use crate::journal::{Journal, Post, Result, RunRow};

/// Longest reason in the table, in characters.
const REASON: usize = 160;

/// The table of the posts that mana-auth has not confirmed, refused ones first.
pub(super) async fn render(journal: &Journal, now: Timestamp) -> Result<String> {
    let posts = journal.kept_posts().await?;
    let depth = journal.outbox_depth().await?;
    let kept = depth.actions + depth.feedback + depth.dead;
    if kept == 0 {
        return Ok("The outbox is empty: mana-auth has confirmed every row.\n".into());
    }
    let mut rows = Vec::with_capacity(posts.len());
    for post in &posts {
        // If the run's row cannot be read, the persona's id is shown instead of the e-mail.
        let run = journal.run(post.key.run).await.ok().flatten();
        let name = run.as_ref().map_or(&*post.persona, persona);
        rows.push([
            post.key.run.to_string(),
            cell(name, PERSONA),
            cell(&post.kind, PERSONA),
            post.rows.to_string(),
            post.attempts.to_string(),
            next_try(post, now),
            cell(post.reason.as_deref().unwrap_or("not tried yet"), REASON),
        ]);
    }
    let columns = ["RUN", "PERSONA", "KIND", ">ROWS", ">TRIES", "NEXT TRY", "REASON"];
    let waiting = counted(depth.actions + depth.feedback, "post");
    let mut text = table(columns, &rows);
    text.push_str(&format!("\n{waiting} on the way, {} refused for good.", depth.dead));
    let further = kept.saturating_sub(posts.len() as u64);
    if further > 0 {
        text.push_str(&format!(
            " {further} further are not listed: they are beyond the first 1,000, or their rows cannot be \
             read."
        ));
    }
    if depth.dead > 0 {
        text.push_str(
            " `mana-persona-runner outbox retry` has all of them sent again, `outbox discard RUN` throws \
             those of one run away.",
        );
    }
    text.push('\n');
    Ok(text)
}

/// Marks all posts in the outbox as due now, refused ones included.
pub(super) async fn retry(journal: &Journal, now: Timestamp) -> Result<String> {
    Ok(match journal.retry_posts(now).await? {
        0 => "The outbox is empty: there is nothing to send again.\n".into(),
        marked => format!(
            "{} marked. The daemon sends them within moments, or once it is started.\n",
            counted(marked, "post")
        ),
    })
}

/// Deletes the posts of a run that were refused for good. The run itself stays in the journal.
pub(super) async fn discard(journal: &Journal, run: &RunRow) -> Result<String> {
    let id = run.id;
    Ok(match journal.discard_dead_posts(id).await? {
        0 => format!("Nothing of run {id} was refused for good: nothing is thrown away.\n"),
        gone => {
            let posts = counted(gone, "post");
            format!("{posts} of run {id} thrown away: mana-auth will not get the rows.\n")
        }
    })
}

/// When the next delivery of a post is attempted, as text.
fn next_try(post: &Post, now: Timestamp) -> String {
    match post.next_try_at.duration_since(now).as_secs_f64().ceil() {
        _ if post.is_dead => "never".into(),
        ..=0.0 => "now".into(),
        seconds if seconds < 120.0 => format!("in {seconds} s"),
        seconds => format!("in {} min", (seconds / 60.0).ceil()),
    }
}
