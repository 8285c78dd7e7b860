//! Rows for mana-auth, the outbox they wait in, and the journal's file.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec};
use tokio::time::Instant;

use super::{
    Metrics, RowKind,
    families::{Families, Values, all},
};

const KINDS: Values = Values::Closed(all::<RowKind>);

#[derive(Debug)]
pub(super) struct Delivery {
    rows: IntCounterVec,
    outbox: IntGaugeVec,
    oldest_age: Gauge,
    /// Since when the oldest post of the outbox waits.
    oldest_since: Mutex<Option<Instant>>,
    dead_letters: IntGauge,
    journal_size: IntGauge,
    journal_writable: IntGauge,
    disk_free: IntGauge,
}

/// What the outbox holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxState {
    /// Posts of actions that are not confirmed.
    pub actions: u64,
    /// Posts of feedback that are not confirmed.
    pub feedback: u64,
    /// How long the oldest of them has waited.
    pub oldest_age: Option<Duration>,
    /// Posts that mana-auth will never accept.
    pub dead_letters: u64,
}

impl Delivery {
    pub(super) fn new(r: &mut Families) -> prometheus::Result<Self> {
        let delivery = Self {
            rows: r.counters(
                "rows_posted_total",
                "Rows mana-auth confirmed. No growth while runs finish means that nothing is handed in.",
                &[("kind", KINDS)],
            )?,
            outbox: r.gauges(
                "outbox_posts",
                "Posts that mana-auth has not confirmed yet. It grows while mana-auth is away and falls \
                 by itself afterwards.",
                &[("kind", KINDS)],
            )?,
            oldest_age: r.measure(
                "outbox_oldest_age_seconds",
                "How long the oldest of these posts has waited, 0 if there is none. It grows until \
                 mana-auth takes the post.",
            )?,
            oldest_since: Mutex::default(),
            dead_letters: r.gauge(
                "outbox_dead_letters",
                "Posts mana-auth will never accept as they are. Somebody has to look at them.",
            )?,
            journal_size: r.gauge(
                "journal_size_bytes",
                "Size of the journal's database without its write-ahead log, which comes to a few MB. It \
                 levels off at what JOURNAL_RETENTION_DAYS keep.",
            )?,
            disk_free: r.gauge(
                "journal_disk_free_bytes",
                "Room left on the disk the journal is on. At 0 no new run starts; the journal needs some \
                 megabytes a day.",
            )?,
            journal_writable: r.gauge(
                "journal_writable",
                "0 since the journal could not be written, 1 again once it can: meanwhile no new run \
                 starts.",
            )?,
        };
        delivery.journal_writable.set(1);
        Ok(delivery)
    }

    /// Brings the age up to now.
    pub(super) fn refresh(&self) {
        let since = *self.oldest_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.oldest_age.set(since.map_or(0.0, |since| since.elapsed().as_secs_f64()));
    }
}

impl Metrics {
    /// mana-auth confirmed rows of this kind (`actions` or `feedback`).
    pub fn record_rows(&self, kind: &'static str, rows: usize) {
        self.delivery.rows.with_label_values(&[kind]).inc_by(rows as u64);
    }

    /// What the outbox holds now. Between two calls the age grows by itself.
    pub fn set_outbox(&self, outbox: OutboxState) {
        for (kind, posts) in
            [(RowKind::Actions, outbox.actions), (RowKind::Feedback, outbox.feedback)]
        {
            self.delivery.outbox.with_label_values(&[kind.as_str()]).set(whole(posts));
        }
        self.delivery.dead_letters.set(whole(outbox.dead_letters));
        let now = Instant::now();
        let since = outbox.oldest_age.map(|age| now.checked_sub(age).unwrap_or(now));
        let mut oldest = self.delivery.oldest_since.lock().unwrap_or_else(PoisonError::into_inner);
        *oldest = since;
    }

    /// Size of the journal's database in bytes.
    pub fn set_journal_size(&self, bytes: u64) {
        self.delivery.journal_size.set(whole(bytes));
    }

    /// Bytes that may still be written on the journal's disk.
    pub fn set_disk_free(&self, bytes: u64) {
        self.delivery.disk_free.set(whole(bytes));
    }

    /// Whether the last write to the journal went well.
    pub fn set_journal_writable(&self, writable: bool) {
        self.delivery.journal_writable.set(writable.into());
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
