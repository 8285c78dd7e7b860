//! The grid of personas and days.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use serde::Serialize;

use super::days::{self, DayStatus};
use crate::{
    domain::{Cadence, Label, Outcome, WhyNotRun, word},
    facts::{line, window::Window},
};

/// A grid of more personas shows counts.
const ROWS: usize = 50;
/// The most days of a grid, which are ten years. Of a longer window, the grid has the newest ones.
const DAYS: i64 = 3_650;

/// What each day of a window came to, for each persona or, of more than 50 personas, for each status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Coverage {
    /// A row for each persona, by label.
    Personas(Vec<PersonaDays>),
    /// The number of personas in each status, by day.
    Counts(Vec<DayCounts>),
}

/// The days of a persona.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PersonaDays {
    /// The label of the persona.
    pub persona: String,
    /// All days of the window, of a window of more than ten years the last ones.
    pub days: Vec<Day>,
}

/// A day of a persona.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The date in the time zone of the facts.
    pub day: Date,
    /// What the day came to.
    #[serde(serialize_with = "word::serialize")]
    pub status: DayStatus,
}

/// How many personas have each status on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayCounts {
    /// The date in the time zone of the facts.
    pub day: Date,
    /// The number of personas by the word of their status, without zeros.
    pub counts: BTreeMap<&'static str, u32>,
}

impl Coverage {
    /// How many days of all personas have each status, without zeros.
    pub(crate) fn totals(&self) -> BTreeMap<DayStatus, u32> {
        let mut totals = BTreeMap::new();
        let mut add = |status, count| *totals.entry(status).or_default() += count;
        match self {
            Self::Personas(rows) => {
                rows.iter().flat_map(|row| &row.days).for_each(|day| add(day.status, 1));
            }
            Self::Counts(days) => {
                let counts = days.iter().flat_map(|day| &day.counts);
                let known = counts.filter_map(|(word, n)| Some((DayStatus::parse(word)?, *n)));
                known.for_each(|(status, count)| add(status, count));
            }
        }
        totals
    }
}

/// What each day of the window came to.
pub fn coverage(window: &Window) -> Coverage {
    Grid::of(window).map_or_else(Coverage::default, |grid| grid.coverage())
}

impl Default for Coverage {
    fn default() -> Self {
        Self::Personas(Vec::new())
    }
}

/// Collects runs, absences and ticks, in any order, into the grid of a window. Those outside the window matter
/// too: a persona is expected from its first run or absence on.
#[derive(Clone, Debug)]
pub(in crate::facts) struct Grid {
    zone: TimeZone,
    days: Vec<Date>,
    /// Nothing is known about later days.
    newest: Date,
    /// By the persona's id.
    rows: BTreeMap<String, Row>,
    ticks: BTreeSet<Date>,
    /// Days with a tick on a date of UTC from Monday to Friday.
    weekday_ticks: BTreeSet<Date>,
}

#[derive(Clone, Debug)]
struct Row {
    label: String,
    cadence: Cadence,
    first: Option<Date>,
    cells: BTreeMap<Date, Cell>,
}

/// What is known about a day of a persona.
#[derive(Clone, Debug, Default)]
struct Cell {
    run: Option<DayStatus>,
    absences: BTreeMap<DayStatus, u32>,
}

impl Grid {
    /// The grid of a window; `None` if the window has no day.
    pub(in crate::facts) fn of(window: &Window) -> Option<Self> {
        let mut grid = Self::new(window.personas(), window.days()?, window.zone().clone());
        grid.newest = window.newest_day().unwrap_or(Date::MAX);
        let id = |persona: u32| &*window.personas()[persona as usize].id;
        for (number, run) in (0..).zip(window.runs()) {
            // Of runs whose calls are no longer kept, the modules tell that there were some.
            let has_calls =
                !window.calls().of(number).is_empty() || !window.modules().of(number).is_empty();
            grid.run(id(run.persona), run.day, run.outcome, has_calls);
            // A run shows that the runner was up.
            if window.contains(number) {
                grid.tick(run.server_time.unwrap_or(run.at));
            }
        }
        for absence in window.absences() {
            grid.absence(id(absence.persona), window.text(absence.slot), absence.why);
        }
        window.ticks().iter().for_each(|at| grid.tick(*at));
        Some(grid)
    }

    /// The empty grid of these personas for the days `from` to `to`, both inclusive, in `zone`.
    fn new<'a>(
        personas: impl IntoIterator<Item = &'a line::Persona>,
        (from, to): (Date, Date),
        zone: TimeZone,
    ) -> Self {
        let row = |persona: &line::Persona| {
            let cadence = persona.cadence.as_deref().and_then(Cadence::parse);
            let row = Row {
                label: persona.label.clone(),
                // An unknown cadence excludes no day.
                cadence: cadence.unwrap_or(Cadence::Daily),
                first: None,
                cells: BTreeMap::new(),
            };
            (persona.id.clone(), row)
        };
        let from = from.max(to.saturating_sub((DAYS - 1).days()));
        let days = from.series(1.day()).take_while(|day| *day <= to).collect();
        let rows = personas.into_iter().map(row).collect();
        Self {
            zone,
            days,
            newest: Date::MAX,
            rows,
            ticks: BTreeSet::new(),
            weekday_ticks: BTreeSet::new(),
        }
    }

    /// Adds a run of this day. `has_calls`: it called tools.
    fn run(&mut self, persona: &str, day: Date, outcome: Outcome, has_calls: bool) {
        let status = DayStatus::of_run(outcome, has_calls);
        if let Some(cell) = self.cell(persona, day) {
            cell.run = Some(cell.run.map_or(status, |best| best.min(status)));
        }
    }

    /// Adds an absence, also one that was derived.
    fn absence(&mut self, persona: &str, slot: &str, why: WhyNotRun) {
        let (Some(day), Some(status)) =
            (days::of_slot(slot, &self.zone), DayStatus::of_absence(why))
        else {
            return;
        };
        if let Some(cell) = self.cell(persona, day) {
            *cell.absences.entry(status).or_default() += 1;
        }
    }

    /// Adds a tick.
    fn tick(&mut self, at: Timestamp) {
        let day = days::date(at, &self.zone);
        self.ticks.insert(day);
        if days::may_be_due(Cadence::Weekdays, days::date(at, &TimeZone::UTC)) {
            self.weekday_ticks.insert(day);
        }
    }

    /// The cell of a day of the window; `None` for other days and for unknown personas. The persona is expected
    /// from this day on.
    fn cell(&mut self, persona: &str, day: Date) -> Option<&mut Cell> {
        let row = self.rows.get_mut(persona)?;
        row.first = Some(row.first.map_or(day, |first| first.min(day)));
        self.days.binary_search(&day).is_ok().then(|| row.cells.entry(day).or_default())
    }

    /// The days.
    pub(in crate::facts) fn days(&self) -> &[Date] {
        &self.days
    }

    /// What these of the days came to, for each persona, by id.
    pub(in crate::facts) fn statuses(&self, days: &[Date]) -> impl Iterator<Item = Vec<DayStatus>> {
        self.rows.values().map(|row| days.iter().map(|day| self.status(row, *day)).collect())
    }

    /// The grid of everything that was added.
    pub(in crate::facts) fn coverage(&self) -> Coverage {
        if self.rows.len() > ROWS {
            return Coverage::Counts(self.days.iter().map(|day| self.counts(*day)).collect());
        }
        let days = |row| {
            let day = |day: &Date| Day { day: *day, status: self.status(row, *day) };
            PersonaDays { persona: row.label.clone(), days: self.days.iter().map(day).collect() }
        };
        let mut personas: Vec<_> = self.rows.values().map(days).collect();
        personas.sort_by(|a, b| a.persona.cmp(&b.persona));
        Coverage::Personas(personas)
    }

    fn counts(&self, day: Date) -> DayCounts {
        let mut counts = BTreeMap::new();
        for row in self.rows.values() {
            *counts.entry(self.status(row, day).as_str()).or_default() += 1;
        }
        DayCounts { day, counts }
    }

    /// What the day came to: the best of its runs, else the most frequent absence (of equally frequent ones the
    /// one declared first), else whether the persona could have been due.
    fn status(&self, row: &Row, day: Date) -> DayStatus {
        let cell = row.cells.get(&day);
        let absence = |cell: &Cell| {
            let frequent = cell.absences.iter().rev().max_by_key(|(_, count)| **count);
            frequent.map(|(status, _)| *status)
        };
        cell.and_then(|cell| cell.run.or_else(|| absence(cell)))
            .unwrap_or_else(|| self.status_without_facts(row, day))
    }

    /// A day without a run and without an absence. With a tick at which the persona could have been due, it was
    /// not due, because a due persona either runs or is absent. Without such a tick, nobody asked.
    fn status_without_facts(&self, row: &Row, day: Date) -> DayStatus {
        let is_known = row.first.is_some_and(|first| first <= day) && day <= self.newest;
        let is_expected = is_known && self.may_be_due(row, day);
        let ticks = match row.cadence {
            Cadence::Weekdays => &self.weekday_ticks,
            Cadence::Hourly | Cadence::Daily => &self.ticks,
        };
        if is_expected && !ticks.contains(&day) { DayStatus::RunnerDown } else { DayStatus::NotDue }
    }

    /// Whether the persona can be due at noon of the day: mana-auth's weekend is one of UTC, and the day's dates
    /// of UTC may be two.
    fn may_be_due(&self, row: &Row, day: Date) -> bool {
        let noon = self.zone.to_timestamp(day.at(12, 0, 0, 0));
        noon.is_ok_and(|noon| days::may_be_due(row.cadence, days::date(noon, &TimeZone::UTC)))
    }
}
