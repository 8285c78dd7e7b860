//! Writes the report of each week when it is due, and posts it to the webhook.
//!
//! A report is a row of the journal, written in the transaction that pins the runs that it quotes. Its files are copies,
//! and its post follows from the row. So a process that is killed at any point leaves each week with one report, which
//! is posted until the webhook takes or refuses it.

mod due;
mod files;

use std::{io, sync::Arc, time::Duration};

use futures_util::future::{OptionFuture, join};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use super::{delivery::pause_after, fleet::Fleet};
use crate::{
    clients::webhook::{WebhookClient, WebhookError},
    config::ReportAt,
    domain::{Language, Week},
    facts::window::{Builder, Days, ImpossibleWindow},
    http::{HttpClient, Retryable},
    journal::{JournalError, NewReport, ReportPost},
    report::{Document, Form},
};
use due::due_week;

/// Pause between two looks whether a report is due, or has to be posted.
const PERIOD: Duration = Duration::from_secs(1);
/// Pause after the first failed attempt to write a report. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause between two attempts to write a report.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// The report that the daemon writes every week.
#[derive(Debug)]
pub(crate) struct WeeklyReport {
    fleet: Arc<Fleet>,
    webhook: Option<WebhookClient>,
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Window(#[from] ImpossibleWindow),
    #[error("the files in the folder `reports` of RUNNER_DATA_DIR cannot be written: {0}")]
    Files(#[from] io::Error),
    #[error("the work has panicked")]
    Panicked(#[from] JoinError),
}

/// A report before it is stored.
struct Draft {
    html: String,
    markdown: String,
    json: String,
    /// The runs that it quotes.
    runs: Vec<String>,
}

impl WeeklyReport {
    /// The weekly report of this fleet, as its configuration says.
    pub(crate) fn new(fleet: Arc<Fleet>, http: HttpClient) -> Self {
        let webhook = fleet.config.report.webhook.clone();
        Self { webhook: webhook.map(|at| WebhookClient::new(http, at)), fleet }
    }

    /// Writes the reports that become due, and posts them, until a stop. A post never delays the writing of a report.
    pub(crate) async fn work(self) {
        let posts = async {
            match &self.webhook {
                Some(webhook) => self.post_reports(webhook).await,
                None => self.give_up_posts().await,
            }
        };
        let reports = async {
            self.restore_files().await;
            OptionFuture::from(self.fleet.config.report.at.map(|at| self.write_reports(at))).await;
        };
        self.fleet.shutdown.unless_stopping(join(posts, reports)).await;
    }

    /// Writes each report when it is due. What fails is tried again, first after a minute and at last every hour.
    async fn write_reports(&self, at: ReportAt) {
        let unwritten = &self.fleet.metrics.delivery.report_unwritten;
        let (mut done, mut failures) = (None, 0);
        loop {
            let pause = match self.write_due(at, done).await {
                Ok(week) => {
                    unwritten.set(0.0);
                    (done, failures) = (week, 0);
                    PERIOD
                }
                Err(error) => {
                    let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(failures));
                    let pause = pause.min(LONGEST_PAUSE);
                    let pause_ms = pause.as_millis() as u64;
                    tracing::warn!(pause_ms, "the report of the last week is not written: {error}");
                    unwritten.set(1.0);
                    failures += 1;
                    pause
                }
            };
            sleep(pause).await;
        }
    }

    /// Writes the report that is due, unless that is the one of the week `done`. Returns the week for which nothing is
    /// left to do. A journal without facts from before the minute at which the report became due gets none: the runner
    /// did not exist then.
    async fn write_due(
        &self,
        at: ReportAt,
        done: Option<Week>,
    ) -> Result<Option<Week>, ReportError> {
        let Fleet { journal, config, metrics, .. } = &*self.fleet;
        let Some(now) = self.now() else { return Ok(done) };
        let due = due_week(now, at, &config.time_zone).filter(|due| Some(due.week) != done);
        let Some(due) = due else { return Ok(done) };
        if journal.report(due.week).await?.is_none() {
            if !journal.has_facts_before(due.since).await? {
                return Ok(Some(due.week));
            }
            self.write(due.week, now).await?;
            metrics.delivery.reports_written.inc();
            tracing::info!(week = %due.week, "the report of the week is written");
        }
        self.write_missing_files(due.week).await?;
        Ok(Some(due.week))
    }

    /// A time that mana-auth's clock has passed. Without keys nobody asks for its time.
    fn now(&self) -> Option<Timestamp> {
        let fleet = &self.fleet;
        let is_asking = fleet.is_asking() && fleet.model.is_ok();
        fleet.server_time.passed(fleet.clock.now(), is_asking)
    }

    /// Writes the report of a week to the journal.
    async fn write(&self, week: Week, written_at: Timestamp) -> Result<(), ReportError> {
        let Fleet { journal, config, clock, .. } = &*self.fleet;
        let language = config.report.language;
        let days = Days::Between(week.monday(), week.sunday());
        let facts = journal.facts_for(days).await?;
        let Draft { html, markdown, json, runs } =
            blocking(move || draft(facts, days, language)).await??;
        let runs: Vec<_> = runs.iter().map(|run| &**run).collect();
        let report = NewReport {
            week,
            language,
            written_at,
            html: &html,
            markdown: &markdown,
            json: &json,
            is_posted: self.webhook.is_some(),
            runs: &runs,
        };
        Ok(journal.store_report(&report, clock.now()).await?)
    }

    /// Writes the files of all reports that lack one. What cannot be written does not count as an unwritten report.
    async fn restore_files(&self) {
        let restored = async {
            for week in self.fleet.journal.weeks_with_reports().await? {
                self.write_missing_files(week).await?;
            }
            Ok::<_, ReportError>(())
        };
        if let Err(error) = restored.await {
            tracing::warn!("earlier reports lack files: {error}");
        }
    }

    async fn write_missing_files(&self, week: Week) -> Result<(), ReportError> {
        let folder = self.fleet.config.journal.folder.clone();
        let looked = folder.clone();
        if !blocking(move || files::is_missing(&looked, week)).await? {
            return Ok(());
        }
        match self.fleet.journal.report(week).await? {
            Some(report) => Ok(blocking(move || files::write(&folder, &report)).await??),
            None => Ok(()),
        }
    }

    /// Posts the reports that wait for the webhook, until the future is dropped.
    async fn post_reports(&self, webhook: &WebhookClient) {
        let Fleet { journal, clock, .. } = &*self.fleet;
        loop {
            // While the journal cannot be written, it could not be noted that the webhook has taken a report.
            if journal.trouble().is_none()
                && let Some(post) = logged(journal.due_report_post(clock.now()).await).flatten()
                && let Some(Some(report)) = logged(journal.report(post.week).await)
            {
                let posted = webhook.post(&report.json).await;
                logged(self.note_post(&post, posted).await);
            }
            sleep(PERIOD).await;
        }
    }

    async fn note_post(
        &self,
        post: &ReportPost,
        posted: Result<(), WebhookError>,
    ) -> Result<(), JournalError> {
        let Fleet { journal, clock, .. } = &*self.fleet;
        let (week, now) = (post.week, clock.now());
        let Err(error) = posted else {
            tracing::info!(%week, "the report of a week is posted");
            return journal.confirm_report(week, now).await;
        };
        let reason = error.to_string();
        if error.is_for_good() {
            tracing::error!(
                %week,
                "a report is refused for good and kept: {reason}; `mana-persona-runner outbox` lists it, \
                 `outbox retry` posts it again"
            );
            return journal.refuse_report(week, &reason, now).await;
        }
        let pause = pause_after(post.attempts, error.again_after());
        let pause_ms = pause.as_millis() as u64;
        tracing::warn!(%week, pause_ms, "the report of a week waits to be posted: {reason}");
        let next = now.checked_add(pause).unwrap_or(Timestamp::MAX);
        journal.postpone_report(week, &reason, now, next).await
    }

    /// Without REPORT_WEBHOOK_URL nothing that still waits is posted, now or later.
    async fn give_up_posts(&self) {
        if let Some(reports @ 1..) = logged(self.fleet.journal.give_up_report_posts().await) {
            tracing::warn!(
                reports,
                "reports are not posted any more: REPORT_WEBHOOK_URL is not set"
            );
        }
    }
}

impl Fleet {
    /// Deletes the reports from before FACTS_RETENTION_DAYS with their files; `now` is mana-auth's time.
    pub(super) async fn delete_old_reports(
        &self,
        now: Timestamp,
        keep: SignedDuration,
    ) -> Result<(), JournalError> {
        let before = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
        for week in self.journal.old_reports(before).await? {
            let folder = self.config.journal.folder.clone();
            // The files first: without the row nobody would know of them.
            match blocking(move || files::delete(&folder, week)).await {
                Ok(Ok(())) => self.journal.delete_report(week).await?,
                Ok(Err(error)) => tracing::warn!(%week, "an old report stays: {error}"),
                Err(error) => tracing::warn!(%week, "an old report stays: {error}"),
            }
        }
        Ok(())
    }
}

/// The report of these days in a language. Takes seconds for a large fleet.
fn draft(facts: Builder, days: Days, language: Language) -> Result<Draft, ImpossibleWindow> {
    let document = Document::new(&facts.finish(days)?, language);
    Ok(Draft {
        html: document.text(Form::Html),
        markdown: document.text(Form::Markdown),
        json: document.text(Form::Json),
        runs: document.quoted_runs().into_iter().map(str::to_owned).collect(),
    })
}

/// Runs `work`, which computes for long or waits for a disk, on a thread of its own. A stop does not wait for it.
#[expect(clippy::disallowed_methods, reason = "the two threads of the runtime belong to runs")]
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    spawn_blocking(work).await
}

/// The value of a journal operation, or `None` after its error was logged. A report whose post could not be noted is
/// posted once more.
fn logged<T>(result: Result<T, JournalError>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!("{error}")).ok()
}

#[cfg(test)]
mod tests;
