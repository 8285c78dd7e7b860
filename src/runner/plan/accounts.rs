//! What is spent, and how much a tick can spend at most.

use std::{collections::HashMap, iter::repeat_n};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    agent::step::Step,
    config::Config,
    domain::{CapLeft, Usd},
    journal::{Books, Cap, RunRow, UnfinishedBooks},
    runner::budget::{Budget, end_of_period},
};

/// What is spent, and the caps.
pub(super) struct Accounts<'a> {
    pub config: &'a Config,
    pub books: Books,
    /// Whether a daemon is running, which may give back what it has reserved for a request.
    pub is_live: bool,
}

impl Accounts<'_> {
    /// What an unfinished run may still spend.
    pub(super) fn left_of(&self, run: &RunRow) -> Usd {
        // A run that is not in the books has begun after they were read.
        let run = self.books.unfinished.get(&run.id.to_string()).cloned().unwrap_or_default();
        let booked = run.booked.saturating_sub(self.may_come_back(&run));
        self.config.run.max_cost.saturating_sub(booked)
    }

    /// Whether an unfinished run that fails leaves nothing behind, so that its slot is free again.
    pub(super) fn leaves_nothing(&self, run: &RunRow) -> bool {
        let has_called = |run: &UnfinishedBooks| run.has_called;
        !self.books.unfinished.get(&run.id.to_string()).is_some_and(has_called)
    }

    /// The most that can be spent in the time `span`, if each persona spends no more than the amount in `most`.
    pub(super) fn ceiling(&self, span: Span, most: &HashMap<&str, Usd>) -> Usd {
        let (caps, books) = (&self.config.budget, &self.books);
        let reserved = |is_of: &dyn Fn(&str) -> bool| {
            let runs = books.unfinished.values().filter(|run| is_of(&run.persona));
            runs.map(|run| self.may_come_back(run)).sum()
        };
        let of_all = reserved(&|_| true);
        let room = |cap: Cap, booked, reserved| span.room(cap, cap.of(caps), booked, reserved);
        let of_persona = |(id, most): (&&str, &Usd)| {
            let booked = books.personas.get(*id).copied().unwrap_or_default();
            room(Cap::PersonaDaily, booked, reserved(&|persona| persona == *id)).min(*most)
        };
        let sum: Usd = most.iter().map(of_persona).sum();
        sum.min(room(Cap::Daily, books.day, of_all)).min(room(Cap::Monthly, books.month, of_all))
    }

    /// The money that is reserved for the request of a run that is under way.
    fn may_come_back(&self, run: &UnfinishedBooks) -> Usd {
        match serde_json::from_str(&run.last_step) {
            Ok(Step::Asking { reserved }) if self.is_live => reserved,
            _ => Usd::ZERO,
        }
    }

    /// What the fleet's caps have left, the least first.
    pub(super) fn caps(&self, budget: &Budget, now: Timestamp) -> Vec<CapLeft> {
        let booked = [(Cap::Daily, self.books.day), (Cap::Monthly, self.books.month)];
        let left = |(cap, booked): (Cap, Usd)| {
            let limit = cap.of(&budget.caps)?;
            let left = limit.saturating_sub(booked);
            let is_reached = left == Usd::ZERO || budget.reached_now(cap).is_some();
            Some(CapLeft {
                name: cap.as_str(),
                limit,
                left,
                is_reached,
                until: end_of_period(cap, now),
            })
        };
        let mut caps: Vec<_> = booked.into_iter().filter_map(left).collect();
        caps.sort_by_key(|cap| cap.left);
        caps
    }
}

/// A span of time, such as the one in which a tick may spend money.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Span {
    /// The most that can be spent in this time under a cap of `limit`, of which `booked` is spent or reserved at its
    /// begin and `reserved` may be given back. A new day or month has the whole cap again.
    pub(super) fn room(&self, cap: Cap, limit: Option<Usd>, booked: Usd, reserved: Usd) -> Usd {
        let Some(limit) = limit else { return Usd::MAX };
        let left = limit.saturating_sub(booked.saturating_sub(reserved));
        left + repeat_n(limit, self.periods_begun(cap)).sum()
    }

    /// How many periods of the cap begin within this time.
    fn periods_begun(&self, cap: Cap) -> usize {
        let [from, to] = [self.from, self.to].map(|time| time.to_zoned(TimeZone::UTC).date());
        let begun = match cap {
            Cap::Monthly => {
                let months = i32::from(to.month()) - i32::from(from.month());
                months + 12 * (i32::from(to.year()) - i32::from(from.year()))
            }
            Cap::Daily | Cap::PersonaDaily => (to - from).get_days(),
        };
        usize::try_from(begun).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(dollars: f64) -> Usd {
        Usd::from_dollars(dollars).unwrap()
    }

    #[test]
    fn a_cap_has_room_for_what_is_left_what_is_given_back_and_what_new_periods_bring() {
        let span =
            |from: &str, to: &str| Span { from: from.parse().unwrap(), to: to.parse().unwrap() };
        let room = |span: Span, cap| span.room(cap, Some(usd(5.0)), usd(4.5), usd(0.25)).dollars();
        let noon = span("2026-11-30T11:00:00Z", "2026-11-30T23:59:59Z");
        let night = span("2026-11-30T11:00:00Z", "2026-12-01T00:00:00Z");
        let year = span("2026-11-30T11:00:00Z", "2027-02-01T00:00:00Z");
        for (span, daily, monthly) in
            [(noon, 0.75, 0.75), (night, 5.75, 5.75), (year, 315.75, 15.75)]
        {
            assert_eq!(room(span, Cap::Daily), daily);
            assert_eq!(room(span, Cap::PersonaDaily), daily);
            assert_eq!(room(span, Cap::Monthly), monthly);
        }
        assert_eq!(noon.room(Cap::Daily, None, usd(4.0), Usd::ZERO), Usd::MAX);
        assert_eq!(noon.room(Cap::Daily, Some(usd(1.0)), usd(4.0), Usd::ZERO), Usd::ZERO);
    }
}
