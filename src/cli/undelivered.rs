//! Prints and changes the posts in the outbox and the reports for the webhook: those that wait for delivery and those
//! that were refused for good.

use jiff::Timestamp;

use super::{
    runs::{PERSONA, persona},
    text::{cell, counted, table},
};
use crate::{
    domain::Week,
    journal::{Journal, Result, RunRow},
};

/// Longest reason in the table, in characters.
const REASON: usize = 160;

/// The table of the posts that mana-auth has not confirmed, and that of the reports that the webhook has not taken;
/// refused ones first.
pub(super) async fn render(journal: &Journal, now: Timestamp) -> Result<String> {
    let (rows, reports) = (rows(journal, now).await?, reports(journal, now).await?);
    Ok(if reports.is_empty() { rows } else { format!("{rows}\n{reports}") })
}

/// The table of the reports that the webhook has not taken; empty if there are none.
async fn reports(journal: &Journal, now: Timestamp) -> Result<String> {
    let posts = journal.kept_report_posts().await?;
    if posts.is_empty() {
        return Ok(String::new());
    }
    let rows = posts.iter().map(|post| {
        [
            post.week.to_string(),
            post.attempts.to_string(),
            next_try(post.is_refused, post.next_try_at, now),
            cell(post.reason.as_deref().unwrap_or("not tried yet"), REASON),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let refused = posts.iter().filter(|post| post.is_refused).count();
    let waiting = counted(posts.len() - refused, "report");
    let mut text = table(["REPORT", ">TRIES", "NEXT TRY", "REASON"], &rows);
    text.push_str(&format!("\n{waiting} on the way to the webhook, {refused} refused for good."));
    if refused > 0 {
        text.push_str(
            " `mana-persona-runner outbox retry` has all of them posted again, `outbox discard WEEK` gives one up.",
        );
    }
    text.push('\n');
    Ok(text)
}

/// The table of the posts that mana-auth has not confirmed, refused ones first.
async fn rows(journal: &Journal, now: Timestamp) -> Result<String> {
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
            next_try(post.is_dead, post.next_try_at, now),
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

/// Marks all posts in the outbox, and all reports for the webhook, as due now, refused ones included.
pub(super) async fn retry(journal: &Journal, now: Timestamp) -> Result<String> {
    let (posts, reports) = (journal.retry_posts(now).await?, journal.retry_reports(now).await?);
    let marked = [(posts, "post"), (reports, "report")].into_iter().filter(|(count, _)| *count > 0);
    let marked: Vec<_> = marked.map(|(count, what)| counted(count, what)).collect();
    Ok(match marked.join(" and ") {
        none if none.is_empty() => "The outbox is empty: there is nothing to send again.\n".into(),
        marked => {
            format!(
                "{marked} marked. The daemon sends them within moments, or once it is started.\n"
            )
        }
    })
}

/// Gives up posting the report of a week that the webhook has refused for good. The report itself stays in the journal.
pub(super) async fn discard_report(journal: &Journal, week: Week) -> Result<String> {
    Ok(match journal.discard_report_post(week).await? {
        true => format!("The report of {week} is not posted any more. The report itself stays.\n"),
        false => format!("The report of {week} was not refused for good: nothing is given up.\n"),
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
fn next_try(is_refused: bool, at: Timestamp, now: Timestamp) -> String {
    match at.duration_since(now).as_secs_f64().ceil() {
        _ if is_refused => "never".into(),
        ..=0.0 => "now".into(),
        seconds if seconds < 120.0 => format!("in {seconds} s"),
        seconds => format!("in {} min", (seconds / 60.0).ceil()),
    }
}
