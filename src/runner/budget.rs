//! The budget caps: remembers which caps are reached, and lets requests wait for reservations of other
//! requests.

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};
use parking_lot::Mutex;
use tokio::sync::{self, watch};

use crate::{
    clock::Clock,
    config::BudgetConfig,
    domain::Usd,
    journal::{BUDGETS, BudgetReached, Cap, Journal, JournalError},
};

/// The caps, and which of them the fleet has reached.
#[derive(Debug)]
pub(crate) struct Budget {
    pub caps: BudgetConfig,
    clock: Clock,
    /// At most one entry for each cap of the fleet.
    reached: Mutex<Vec<BudgetReached>>,
    /// Held while `reached` is written to the journal, so that the newest state is written last.
    saving: sync::Mutex<()>,
    requests: Arc<watch::Sender<Requests>>,
}

/// Counts of the model requests that have a reservation, or are trying to get one.
#[derive(Clone, Copy, Debug, Default)]
struct Requests {
    in_flight: usize,
    /// How many requests with a granted reservation were settled so far.
    settled: u64,
}

/// The reservation of one request, from before the attempt to reserve until it is dropped. This value exists
/// as long as the ledger holds the reservation, so a request that finds no money never mistakes reserved
/// money, which may be given back, for spent money.
#[derive(Debug)]
pub(super) struct Reserved {
    requests: Arc<watch::Sender<Requests>>,
    /// Value of [`Requests::settled`] when the attempt began.
    settled_before: u64,
    is_in_flight: bool,
    /// Whether the ledger certainly holds the reservation.
    pub is_granted: bool,
}

impl Reserved {
    /// Gives the attempt up and returns a future that resolves when another request has been settled since
    /// the attempt began, or when no request is in flight. Returns `None` if no other request can give money
    /// back, so that there is nothing to wait for.
    pub(super) fn make_way(mut self) -> Option<impl Future<Output = ()>> {
        let before = self.settled_before;
        // Checked and changed in one step, so that of several requests which give up at once the last one
        // sees that it is alone.
        let makes_way = self.requests.send_if_modified(|requests| {
            let makes_way = requests.in_flight > 1 || requests.settled != before;
            requests.in_flight -= usize::from(makes_way);
            makes_way
        });
        if !makes_way {
            return None;
        }
        self.is_in_flight = false;
        let mut requests = self.requests.subscribe();
        Some(async move {
            let over = |now: &Requests| now.settled != before || now.in_flight == 0;
            // Never an error: the budget owns the sender and outlives this wait.
            let _ = requests.wait_for(over).await;
        })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.is_in_flight {
            self.requests.send_modify(|requests| {
                requests.in_flight -= 1;
                requests.settled += u64::from(self.is_granted);
            });
        }
    }
}

impl Budget {
    /// Loads the caps that an earlier process has reached from the journal.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn load(
        config: &BudgetConfig,
        journal: &Journal,
        clock: Clock,
    ) -> Result<Self, JournalError> {
        let reached = journal.kept(BUDGETS).await?.unwrap_or_default();
        Ok(Self {
            caps: *config,
            clock,
            reached: Mutex::new(reached),
            saving: sync::Mutex::default(),
            requests: Arc::default(),
        })
    }

    /// Why no run begins now, if a cap of the fleet is reached. A reached cap counts until its day or month
    /// (UTC) ends or its configured limit changes.
    pub(crate) fn exhausted(&self) -> Option<String> {
        // The month never ends before the day.
        let last = [Cap::Monthly, Cap::Daily].into_iter().find_map(|cap| self.reached_now(cap));
        let BudgetReached { variable, limit, until } = last?;
        Some(used_up(&variable, limit, until))
    }

    /// The entry of this cap, if the fleet has reached it in the current period, with the current limit. An
    /// entry made while the clock was ahead has another period and does not count.
    pub(super) fn reached_now(&self, cap: Cap) -> Option<BudgetReached> {
        let entry = self.entry(cap, self.clock.now())?;
        self.reached.lock().contains(&entry).then_some(entry)
    }

    /// The entry of this cap for the period of `at`, or `None` if it has no limit.
    fn entry(&self, cap: Cap, at: Timestamp) -> Option<BudgetReached> {
        let (variable, limit) = (cap.as_str().into(), cap.of(&self.caps)?);
        Some(BudgetReached { variable, limit, until: end_of_period(cap, at) })
    }

    /// Registers a request before it tries to reserve money.
    pub(super) fn reserving(&self) -> Reserved {
        let settled_before = self.requests.borrow().settled;
        self.requests.send_modify(|requests| requests.in_flight += 1);
        let requests = self.requests.clone();
        Reserved { requests, settled_before, is_in_flight: true, is_granted: false }
    }

    /// Notes that the fleet reached `cap` at the time `at`. Logs it once for each period and limit, and
    /// writes it to the journal for the next start.
    pub(super) async fn reach(&self, cap: Cap, at: Timestamp, journal: &Journal) {
        let Some(found) = self.entry(cap, at) else { return };
        {
            let mut reached = self.reached.lock();
            if reached.contains(&found) {
                return;
            }
            reached.retain(|earlier| earlier.variable != found.variable);
            reached.push(found.clone());
        }
        tracing::warn!(
            budget.limit = %found.limit,
            budget.until = %found.until,
            "{} is used up: no run is begun until then", found.variable
        );
        let _saving = self.saving.lock().await;
        let all = self.reached.lock().clone();
        if let Err(error) = journal.keep(BUDGETS, Some(&all), self.clock.now()).await {
            tracing::warn!("{error}; after a restart the first request finds it out again");
        }
    }
}

/// Says that no run begins because this cap is used up.
pub(super) fn used_up(variable: &str, limit: Usd, until: Timestamp) -> String {
    format!("{variable} ({limit}) is used up; the next run begins after {until}")
}

/// The end of the current period of a cap: the next day or month in UTC.
pub(super) fn end_of_period(cap: Cap, now: Timestamp) -> Timestamp {
    let today = now.to_zoned(TimeZone::UTC);
    let last_day = if cap == Cap::Monthly { today.last_of_month() } else { Ok(today) };
    let next_day = last_day.and_then(|day| day.tomorrow()).and_then(|day| day.start_of_day());
    next_day.map_or(Timestamp::MAX, |day| day.timestamp())
}

/// The beginning of the next day in UTC.
pub(super) fn next_day(now: Timestamp) -> Timestamp {
    end_of_period(Cap::Daily, now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
        let next_month = |now| end_of_period(Cap::Monthly, now);
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
        budget.reach(Cap::Daily, clock.now(), &journal).await;
        assert!(budget.exhausted().unwrap().contains("BUDGET_DAILY_USD"));
        assert!(load(config).await.exhausted().is_some());
        let raised = BudgetConfig { daily: Some(usd(6.0)), ..config };
        assert_eq!(load(raised).await.exhausted(), None);
        clock.advance(DAY / 2);
        assert_eq!(budget.exhausted(), None);
    }

    #[tokio::test]
    async fn both_caps_may_be_reached_and_each_stands_for_its_own_period() {
        let journal = Journal::in_memory().await.unwrap();
        let clock = Clock::manual(at("2026-11-29T23:00:00Z"));
        let config =
            BudgetConfig { daily: Some(usd(5.0)), monthly: Some(usd(50.0)), persona_daily: None };
        let load = async |config| Budget::load(&config, &journal, clock.clone()).await.unwrap();
        let budget = load(config).await;
        let told = |budget: &Budget| {
            [Cap::Daily, Cap::Monthly].map(|cap| budget.reached_now(cap).is_some())
        };
        assert_eq!(told(&budget), [false, false]);
        budget.reach(Cap::Monthly, clock.now(), &journal).await;
        budget.reach(Cap::Daily, clock.now(), &journal).await;
        assert_eq!(told(&budget), [true, true]);
        assert_eq!(told(&load(config).await), [true, true], "after a restart, too");
        let raised = BudgetConfig { monthly: Some(usd(60.0)), ..config };
        assert_eq!(told(&load(raised).await), [true, false]);
        assert!(budget.exhausted().unwrap().contains("BUDGET_MONTHLY_USD"), "the later end");
        clock.advance(DAY);
        assert_eq!(told(&budget), [false, true]);
        assert!(budget.exhausted().is_some());
        clock.advance(DAY);
        assert_eq!(told(&budget), [false, false]);
        assert_eq!(budget.exhausted(), None);
    }

    #[tokio::test]
    async fn a_cap_that_was_met_before_midnight_is_not_the_next_days() {
        let journal = Journal::in_memory().await.unwrap();
        let refused_at = at("2026-11-30T23:59:59.999Z");
        let clock = Clock::manual(at("2026-12-01T00:00:00.001Z"));
        let config =
            BudgetConfig { daily: Some(usd(5.0)), monthly: Some(usd(50.0)), persona_daily: None };
        let budget = Budget::load(&config, &journal, clock.clone()).await.unwrap();
        budget.reach(Cap::Daily, refused_at, &journal).await;
        budget.reach(Cap::Monthly, refused_at, &journal).await;
        assert_eq!(budget.exhausted(), None);
        // A cap that was reached on a later day, while the clock was ahead, does not count either.
        budget.reach(Cap::Daily, clock.now() + DAY, &journal).await;
        assert_eq!(budget.exhausted(), None);
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_others_that_may_give_back_and_for_nobody_else() {
        let journal = Journal::in_memory().await.unwrap();
        let config = BudgetConfig { daily: None, monthly: None, persona_daily: None };
        let clock = Clock::manual(at("2026-11-21T13:00:00Z"));
        let budget = Budget::load(&config, &journal, clock).await.unwrap();
        let granted = || {
            let mut reserved = budget.reserving();
            reserved.is_granted = true;
            reserved
        };
        assert!(budget.reserving().make_way().is_none(), "it is alone");

        let other = granted();
        let refused = budget.reserving();
        drop(other);
        refused.make_way().expect("one came to its end meanwhile").await;
        assert!(budget.reserving().make_way().is_none(), "that was before");

        // Two requests that find no money wait for the third request, not for each other.
        let other = granted();
        let (one, two) = (budget.reserving(), budget.reserving());
        let (one, two) = (one.make_way().unwrap(), two.make_way().unwrap());
        tokio::pin!(one, two);
        assert!(futures_util::poll!(&mut one).is_pending());
        assert!(futures_util::poll!(&mut two).is_pending());
        drop(other);
        one.await;
        two.await;

        // Of two requests without a third the last one has nothing to wait for, and the first one stops
        // waiting.
        let (one, two) = (budget.reserving(), budget.reserving());
        let one = one.make_way().unwrap();
        assert!(two.make_way().is_none());
        one.await;
    }
}
