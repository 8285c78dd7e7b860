//! Metrics of rows for mana-auth, of the outbox in which they wait, of the reports of weeks, and of the journal's file.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Metrics,
    families::{Values, families},
};

const KINDS: Values = Values::Closed(|| vec!["actions", "feedback"]);
const UNPOSTED: Values = Values::Closed(|| vec!["waiting", "refused"]);

families! { Delivery {
    /// Rows mana-auth confirmed. No growth while runs finish means that nothing is handed in.
    rows: counter "rows_posted_total" { kind: KINDS };
    /// Posts that mana-auth has not confirmed yet. It grows while mana-auth is away and falls by itself
    /// afterwards.
    outbox: gauge "outbox_posts" { kind: KINDS };
    /// How long the oldest of these posts has waited, 0 if there is none. It grows until mana-auth takes the
    /// post.
    oldest_age: gauge "outbox_oldest_age_seconds" {};
    /// Posts mana-auth will never accept as they are. Somebody has to look at them.
    pub dead_letters: gauge "outbox_dead_letters" {};
    /// Reports of weeks that were written. One more each week, unless REPORT_AT is off.
    pub reports_written: counter "reports_written_total" {};
    /// 1 since the report of the last week could not be written, 0 again once it is. Meanwhile it is tried again.
    pub report_unwritten: gauge "report_unwritten" {};
    /// Reports of weeks that the webhook has not taken. Those that wait are posted again; those that are refused need a
    /// person.
    unposted: gauge "reports_unposted" { state: UNPOSTED };
    /// Size of the journal's database without its write-ahead log, which comes to a few MB. It levels off at
    /// what JOURNAL_RETENTION_DAYS keep.
    pub journal_size: gauge "journal_size_bytes" {};
    /// Room left on the disk the journal is on. At 0 no new run starts; the journal needs some megabytes a
    /// day.
    pub disk_free: gauge "journal_disk_free_bytes" {};
    /// 0 since the journal could not be written, 1 again once it can: meanwhile no new run starts.
    pub journal_writable: gauge "journal_writable" {};
} }

impl Metrics {
    /// Records that mana-auth confirmed `rows` rows of this kind (`actions` or `feedback`).
    pub(crate) fn record_rows(&self, kind: &'static str, rows: usize) {
        self.delivery.rows.with_label_values(&[kind]).inc_by(rows as f64);
    }

    /// Sets the numbers of unconfirmed posts, and how long the oldest of them has waited (`None` if there is
    /// none). Between two calls the age of the oldest post grows by itself.
    pub(crate) fn set_outbox(&self, actions: u64, feedback: u64, oldest_age: Option<Duration>) {
        for (kind, posts) in [("actions", actions), ("feedback", feedback)] {
            self.delivery.outbox.with_label_values(&[kind]).set(posts as f64);
        }
        let now = Instant::now();
        let since = oldest_age.map(|age| now.checked_sub(age).unwrap_or(now));
        *self.oldest_since.lock() = since;
    }

    /// Sets how many reports wait for the webhook, and how many it has refused for good.
    pub(crate) fn set_unposted_reports(&self, waiting: usize, refused: usize) {
        for (state, reports) in [("waiting", waiting), ("refused", refused)] {
            self.delivery.unposted.with_label_values(&[state]).set(reports as f64);
        }
    }

    /// Sets the age of the oldest post to its current value.
    pub(super) fn refresh_outbox(&self) {
        let since = *self.oldest_since.lock();
        let age = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        self.delivery.oldest_age.set(age);
    }
}
