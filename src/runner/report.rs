//! Writes the report of each week when it is due, and posts it to the webhook.
//!
//! A report is a row of the journal, written in the transaction that pins the runs that it quotes. Its files are copies,
//! and its post follows from the row. So a process that is killed at any point leaves each week with one report, which
//! is posted until the webhook takes or refuses it.
//!
//! What is stored is not written again, so a report waits for the facts of its week: those that earlier versions of this
//! program did not make, and for a while those of runs that have not ended.

mod due;
mod files;

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::{OptionFuture, join};
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Time};
use tokio::{
    runtime::Handle,
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use super::{delivery::pause_after, fleet::Fleet};
use crate::{
    clients::webhook::{WebhookClient, WebhookError},
    config::{Config, ReportAt},
    domain::Week,
    facts::window::{Days, ImpossibleWindow},
    http::{HttpClient, Retryable},
    journal::{JournalError, NewReport, ReportPost},
    report::{Document, Form},
};
use due::{Due, age_of_facts, due_week};

/// Pause between two looks whether a report is due, or has to be posted.
const PERIOD: Duration = Duration::from_secs(1);
/// Pause after the first failed attempt to write a report. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause between two attempts to write a report.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// Longest time for which a report waits for runs of its week that have not ended.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(2);
/// How long a post is left to the daemon that has taken it: longer than an attempt takes.
const CLAIM: SignedDuration = SignedDuration::from_secs(30);

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
    #[error("the daemon stops")]
    Stopping,
}

/// How far the daemon has got with the report of a week.
#[derive(Debug, Default)]
struct Progress {
    /// The week for which nothing is left to do.
    done: Option<Week>,
    /// The week whose report waits for runs that have not ended, and since when.
    waiting: Option<(Week, Timestamp)>,
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
        let (webhook, page) = (&fleet.config.report.webhook, &fleet.config.page.base);
        let webhook = webhook.clone().map(|at| WebhookClient::new(http, at, page.clone()));
        Self { webhook, fleet }
    }

    /// Writes the reports that become due, and posts them, until a stop. A post never delays the writing of a report.
    pub(crate) async fn work(self) {
        self.warn_of_short_retention();
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

    fn warn_of_short_retention(&self) {
        if forgets_the_week(&self.fleet.config) {
            tracing::warn!(
                "FACTS_RETENTION_DAYS is so small that facts of the week are deleted before its report is written at REPORT_AT"
            );
        }
    }

    /// Writes each report when it is due. What fails is tried again, first after a minute and at last every hour.
    async fn write_reports(&self, at: ReportAt) {
        let unwritten = &self.fleet.metrics.delivery.report_unwritten;
        let (mut progress, mut failures) = (Progress::default(), 0);
        loop {
            let pause = match self.write_due(at, &mut progress).await {
                Ok(is_decided) => {
                    if is_decided {
                        unwritten.set(0.0);
                        failures = 0;
                    }
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

    /// Writes the report that is due. Returns whether none is left to be written now; false too while that is not known. A
    /// journal without facts from before the minute at which the report became due gets none: the runner did not exist
    /// then.
    async fn write_due(&self, at: ReportAt, progress: &mut Progress) -> Result<bool, ReportError> {
        let Fleet { journal, config, metrics, .. } = &*self.fleet;
        let due = self.now().and_then(|now| Some((due_week(now, at, &config.time_zone)?, now)));
        let Some((due, now)) = due else { return Ok(false) };
        if progress.done == Some(due.week) {
            return Ok(true);
        }
        if journal.report(due.week).await?.is_none() {
            if !journal.has_facts_before(due.since).await? {
                return Ok(true);
            }
            if self.is_to_wait(due, now, &mut progress.waiting).await? {
                return Ok(false);
            }
            if self.write(due.week, now).await? {
                metrics.delivery.reports_written.inc();
                tracing::info!(week = %due.week, "the report of the week is written");
            }
        }
        self.write_missing_files(due.week).await?;
        progress.done = Some(due.week);
        Ok(true)
    }

    /// Whether the report is to wait for runs of its week that have not ended, or are not rated yet: their facts are written
    /// with their end. A daemon that was down waits as long from its start on, because it continues such runs.
    async fn is_to_wait(
        &self,
        due: Due,
        now: Timestamp,
        waiting: &mut Option<(Week, Timestamp)>,
    ) -> Result<bool, JournalError> {
        let Fleet { journal, config, .. } = &*self.fleet;
        let begun = waiting.filter(|(week, _)| *week == due.week);
        let (_, since) = *waiting.insert(begun.unwrap_or((due.week, now)));
        let midnight = |day: jiff::civil::Date| {
            config.time_zone.to_timestamp(day.to_datetime(Time::midnight())).ok()
        };
        let days =
            midnight(due.week.monday()).zip(midnight(due.week.sunday().saturating_add(1.day())));
        match days {
            Some((from, to)) if now.duration_since(since) < LONGEST_WAIT => {
                journal.has_unfinished_runs(from, to).await
            }
            _ => Ok(false),
        }
    }

    /// A time that mana-auth's clock has passed. Without keys nobody asks for its time. `None` too while facts are being made
    /// that a report would lack.
    fn now(&self) -> Option<Timestamp> {
        let fleet = &self.fleet;
        if !fleet.has_made_missing_facts.load(Ordering::Relaxed) {
            return None;
        }
        let is_asking = fleet.is_asking() && fleet.model.is_ok();
        fleet.server_time.passed(fleet.clock.now(), is_asking)
    }

    /// Writes the report of a week to the journal. Returns false if it was there already.
    async fn write(&self, week: Week, written_at: Timestamp) -> Result<bool, ReportError> {
        let Fleet { journal, config, clock, .. } = &*self.fleet;
        let fleet = self.fleet.clone();
        let Draft { html, markdown, json, runs } = blocking(move || fleet.draft(week)).await??;
        let runs: Vec<_> = runs.iter().map(|run| &**run).collect();
        let report = NewReport {
            week,
            language: config.report.language,
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
        loop {
            // While the journal cannot be written, it could not be noted that the webhook has taken a report.
            if self.fleet.journal.trouble().is_none() {
                logged(self.post_due(webhook).await);
            }
            sleep(PERIOD).await;
        }
    }

    /// Posts the first report that is due. Of several daemons one does.
    async fn post_due(&self, webhook: &WebhookClient) -> Result<(), JournalError> {
        let Fleet { journal, clock, .. } = &*self.fleet;
        let now = clock.now();
        let Some(post) = journal.due_report_post(now).await? else { return Ok(()) };
        let until = now.checked_add(CLAIM).unwrap_or(Timestamp::MAX);
        if !journal.claim_report_post(post.week, now, until).await? {
            return Ok(());
        }
        let posted = match journal.report(post.week).await? {
            Some(report) => webhook.post(post.week, &report.json).await,
            // The row cannot be read. If it stayed due, no later report would be posted.
            None => Err(WebhookError::NoReport),
        };
        self.note_post(&post, posted).await
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
        let reports = loop {
            match logged(self.fleet.journal.give_up_report_posts().await) {
                Some(reports) => break reports,
                None => sleep(PERIOD).await,
            }
        };
        if reports > 0 {
            tracing::warn!(
                reports,
                "reports are not posted any more: REPORT_WEBHOOK_URL is not set"
            );
        }
    }
}

impl Fleet {
    /// The report of a week. Reads the facts and computes on the calling thread, which must not be one of the runtime: a
    /// large fleet takes seconds.
    fn draft(&self, week: Week) -> Result<Draft, ReportError> {
        let days = Days::Between(week.monday(), week.sunday());
        let facts = self.shutdown.unless_stopping(self.journal.facts_for(days));
        let facts = Handle::current().block_on(facts).ok_or(ReportError::Stopping)??;
        let document = Document::new(&facts.finish(days)?, self.config.report.language);
        Ok(Draft {
            html: document.text(Form::Html),
            markdown: document.text(Form::Markdown),
            json: document.text(Form::Json),
            runs: document.quoted_runs().into_iter().map(str::to_owned).collect(),
        })
    }

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

/// Whether facts of a week are deleted before its report becomes due.
fn forgets_the_week(config: &Config) -> bool {
    config.report.at.is_some_and(|at| config.journal.facts_retention < age_of_facts(at))
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
