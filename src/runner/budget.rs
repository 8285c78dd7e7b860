//! The money guard: what may be spent, and what happens when it is.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use jiff::{RoundMode, Timestamp, ToSpan, Unit, ZonedRound, tz::TimeZone};
use tokio::sync::Notify;

use crate::{
    clock::Clock,
    config::BudgetConfig,
    journal::{BudgetReached, Cap, Caps, Journal, JournalError},
};

/// The caps, and whether the fleet has reached one.
#[derive(Debug)]
pub struct Budget {
    caps: Caps,
    clock: Clock,
    reached: Mutex<Option<BudgetReached>>,
    /// Requests that money is reserved for.
    in_flight: Arc<AtomicUsize>,
    /// Told whenever one of them is settled.
    settled: Arc<Notify>,
}

/// Money reserved for a request under way, until dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    in_flight: Arc<AtomicUsize>,
    settled: Arc<Notify>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, SeqCst);
        self.settled.notify_waiters();
    }
}

impl Budget {
    /// The budget, as far as an earlier process has used it up.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn load(
        config: &BudgetConfig,
        journal: &Journal,
        clock: Clock,
    ) -> Result<Self, JournalError> {
        let BudgetConfig { daily, monthly, persona_daily } = *config;
        let reached = journal.budget_reached().await?;
        Ok(Self {
            caps: Caps { daily, monthly, persona_daily },
            clock,
            reached: Mutex::new(reached),
            in_flight: Arc::default(),
            settled: Arc::default(),
        })
    }

    /// The caps.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Why no run is begun for now, if the fleet's money is used up. A new day or month, or another cap
    /// than then, makes a new budget.
    pub fn exhausted(&self) -> Option<String> {
        let reached = self.reached();
        let reached = reached.as_ref().filter(|reached| {
            let limits = [(Cap::Daily, self.caps.daily), (Cap::Monthly, self.caps.monthly)];
            let stands = limits.iter().any(|(cap, limit)| {
                cap.variable() == reached.variable && *limit == Some(reached.limit)
            });
            stands && self.clock.now() < reached.until
        })?;
        let (variable, limit) = (&reached.variable, reached.limit);
        Some(format!(
            "{variable} ({limit}) is used up; the next run begins after {}",
            reached.until
        ))
    }

    /// Money was reserved for a request.
    pub(super) fn reserved(&self) -> Reserved {
        self.in_flight.fetch_add(1, SeqCst);
        Reserved { in_flight: self.in_flight.clone(), settled: self.settled.clone() }
    }

    /// Whether a request under way may give money back.
    pub(super) fn may_get_some_back(&self) -> bool {
        self.in_flight.load(SeqCst) > 0
    }

    /// Told whenever a request is settled.
    pub(super) fn settled(&self) -> &Notify {
        &self.settled
    }

    /// The fleet has reached a cap: said once, and kept for the next start.
    pub(super) async fn reach(&self, cap: Cap, journal: &Journal) {
        let now = self.clock.now();
        let (limit, until) = match cap {
            Cap::Monthly => (self.caps.monthly, next_month(now)),
            _ => (self.caps.daily, next_day(now)),
        };
        let Some(limit) = limit else { return };
        let found = BudgetReached { variable: cap.variable().into(), limit, until };
        {
            let mut reached = self.reached();
            if reached.as_ref() == Some(&found) {
                return;
            }
            *reached = Some(found.clone());
        }
        tracing::warn!(
            budget.limit = %limit,
            budget.until = %until,
            "{} is used up: no run is begun until then", cap.variable()
        );
        if let Err(error) = journal.set_budget_reached(&found, now).await {
            tracing::warn!("{error}; after a restart the first request finds it out again");
        }
    }

    fn reached(&self) -> MutexGuard<'_, Option<BudgetReached>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the next day (UTC) begins.
pub(super) fn next_day(now: Timestamp) -> Timestamp {
    let midnight = ZonedRound::new().smallest(Unit::Day).mode(RoundMode::Trunc);
    let today = now.to_zoned(TimeZone::UTC).round(midnight);
    today.and_then(|today| today.checked_add(1.day())).map_or(Timestamp::MAX, |day| day.timestamp())
}

fn next_month(now: Timestamp) -> Timestamp {
    let today = now.to_zoned(TimeZone::UTC);
    let month = today.first_of_month().and_then(|first| first.start_of_day());
    month.and_then(|month| month.checked_add(1.month())).map_or(Timestamp::MAX, |m| m.timestamp())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Usd;

    const DAY: Duration = Duration::from_secs(86_400);

    fn usd(dollars: f64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn days_and_months_begin_at_midnight_utc() {
        assert_eq!(next_day(at("2026-12-31T23:59:59.5Z")), at("2027-01-01T00:00:00Z"));
        assert_eq!(next_day(at("2026-11-21T00:00:00Z")), at("2026-11-22T00:00:00Z"));
        assert_eq!(next_month(at("2026-12-31T23:59:59Z")), at("2027-01-01T00:00:00Z"));
        assert_eq!(next_month(at("2026-02-01T00:00:00Z")), at("2026-03-01T00:00:00Z"));
    }

    #[tokio::test]
    async fn a_used_up_budget_outlives_a_restart_and_ends_with_its_day_or_another_cap() {
        let journal = Journal::in_memory().await.unwrap();
        let clock = Clock::manual(at("2026-11-21T13:00:00Z"));
        let config = BudgetConfig { daily: Some(usd(5.0)), monthly: None, persona_daily: None };
        let load = async |config| Budget::load(&config, &journal, clock.clone()).await.unwrap();
        let budget = load(config).await;
        assert_eq!(budget.exhausted(), None);
        budget.reach(Cap::Daily, &journal).await;
        assert!(budget.exhausted().unwrap().contains("BUDGET_DAILY_USD"));
        assert!(load(config).await.exhausted().is_some());
        let raised = BudgetConfig { daily: Some(usd(6.0)), ..config };
        assert_eq!(load(raised).await.exhausted(), None);
        clock.advance(DAY / 2);
        assert_eq!(budget.exhausted(), None);
    }
}
