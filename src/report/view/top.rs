//! What stands at the top: the title, the first sentence, and who ran.

use jiff::{SignedDuration, Timestamp, civil::Date};

use super::{
    words::{Away, Part, Told},
    writer::Writer,
};
use crate::{
    domain::Week,
    facts::{
        compare::Build,
        coverage::DayStatus,
        line::Sighting,
        report::{Headline, Idle, Outage, Unfinished},
        state::State,
    },
};

/// How many deployments are named.
const BUILDS: usize = 4;
/// So long after its deployment, a build may be the reason for something new.
const JUST_DEPLOYED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many outages are told.
const OUTAGES: usize = 3;

impl Writer<'_> {
    /// The days that the report is about; a week by its name.
    pub(super) fn title(&self) -> String {
        let Some((from, to)) = self.report.window.from.zip(self.report.window.to) else {
            return self.words.untitled().to_owned();
        };
        let week = Week::of(from);
        let is_week = (week.monday(), week.sunday()) == (from, to);
        self.words.title(is_week.then_some(week), &self.words.days(from, to))
    }

    /// What a person must know.
    pub(super) fn sentence(&self) -> String {
        let told = self.words.headline(self.headline());
        let sentence = format!("{told}{}", self.missed());
        // A German date ends with a full stop.
        if sentence.ends_with('.') { sentence } else { format!("{sentence}.") }
    }

    fn headline(&self) -> Told {
        let fleet = &self.report.fleet;
        let (runs, personas) = (fleet.runs as u64, fleet.personas as u64);
        match self.report.headline {
            Headline::NoFacts => Told::NoFacts,
            Headline::NobodyRan { why, is_only } => {
                let why = why.map(|why| match why {
                    Idle::Absent(why) => self.words.not_run(why),
                    Idle::Days(status) => self.words.day(status),
                });
                Told::NobodyRan { why, is_only }
            }
            Headline::LockedOut { runs: out } => {
                Told::LockedOut { runs: Part { n: out as u64, of: runs } }
            }
            Headline::Unreachable { calls, of } => {
                Told::Unreachable { calls: Part { n: calls, of } }
            }
            Headline::FailedByUs { runs: failed } => {
                Told::FailedByUs { runs: Part { n: failed as u64, of: runs } }
            }
            Headline::NothingUsed => Told::NothingUsed { runs },
            Headline::TooFew { failed, of } => {
                Told::TooFew { runs, personas, failed: Part { n: failed, of } }
            }
            Headline::MostCallsFail { failed, of, worst } => {
                let worst = worst.and_then(|worst| self.report.frictions.get(worst));
                let calls = Part { n: failed, of };
                Told::MostCallsFail { calls, worst: worst.map(|friction| self.told(friction)) }
            }
            Headline::Hurts { worst, others } => match self.report.frictions.get(worst) {
                Some(friction) => Told::Hurts {
                    what: self.told(friction),
                    personas: Part {
                        n: friction.personas.len() as u64,
                        of: friction.personas_exposed as u64,
                    },
                    runs: Part { n: friction.runs.into(), of: friction.runs_exposed.into() },
                    since: match friction.state {
                        State::New => Some(self.words.new_since(&self.since(&friction.first_seen))),
                        State::Regressed => Some(self.words.state(State::Regressed).to_owned()),
                        _ => None,
                    },
                    others: others as u64,
                },
                // There is always one.
                None => Told::TooFew { runs, personas, failed: Part { n: 0, of: 0 } },
            },
            Headline::NothingRaised { resolved, muted, failed, of, untested_modules } => {
                Told::NothingRaised {
                    runs,
                    personas,
                    resolved: resolved as u64,
                    muted: muted as u64,
                    failed: Part { n: failed, of },
                    untested: Part {
                        n: untested_modules as u64,
                        of: self.report.modules.len() as u64,
                    },
                }
            }
        }
    }

    /// Since when something is: the build with which it was seen first, if the runner had met that not long before; else
    /// the day.
    fn since(&self, first: &Sighting) -> String {
        let is_it = |build: &&Build| {
            let is_recent = first.at.duration_since(build.from) <= JUST_DEPLOYED;
            // Of what was there before the first run nobody knows whether it is new.
            let is_known = self.report.first_run.is_some_and(|run| run < build.from);
            is_recent && is_known && first.deployment.as_ref() == Some(&build.id)
        };
        let build = self.report.deployments.iter().find(is_it);
        build.map_or_else(|| self.date(self.day_of(first.at)), |build| self.build(build))
    }

    /// What is added if a quarter of the due runs or more did not take place.
    fn missed(&self) -> String {
        let fleet = &self.report.fleet;
        let missed = fleet.not_run.iter().map(|it| u64::from(it.count)).sum::<u64>();
        let due = missed + fleet.runs as u64;
        if fleet.runs == 0 || missed == 0 || missed * 4 < due {
            return String::new();
        }
        let most = fleet.not_run.iter().rev().max_by_key(|it| it.count);
        let why = most.map_or("", |most| self.words.not_run(most.why));
        self.words.missed(Part { n: missed, of: due }, why)
    }

    /// Who ran, which versions, when the product could not be reached: one line each.
    pub(super) fn summary(&self) -> Vec<String> {
        let fleet = &self.report.fleet;
        let [personas, runs, days] =
            [fleet.personas, fleet.runs, fleet.persona_days].map(|n| n as u64);
        let mut lines = vec![self.words.fleet(personas, runs, days)];
        let missed: u64 = fleet.not_run.iter().map(|it| u64::from(it.count)).sum();
        if missed > 0 {
            let why = fleet.not_run.iter().map(|it| (self.words.not_run(it.why), it.count));
            lines.push(self.words.absent(missed, &self.frequent(why)));
        }
        let down = self.report.coverage.totals().get(&DayStatus::RunnerDown).copied();
        lines.extend(down.map(|days| self.words.runner_down(days.into())));
        let Unfinished { locked_out, failed } = self.report.unfinished;
        if locked_out + failed > 0 {
            lines.push(self.words.unfinished(failed as u64, locked_out as u64));
        }
        lines.push(self.builds());
        lines.extend(self.report.unreachable.iter().take(OUTAGES).map(|it| self.outage(it)));
        let more = self.report.unreachable.len().saturating_sub(OUTAGES) as u64;
        lines.extend((more > 0).then(|| self.words.more_outages(more)));
        lines
    }

    /// The newest deployments; those that are new in the window with their time.
    fn builds(&self) -> String {
        let builds = &self.report.deployments;
        if builds.is_empty() {
            return self.words.notes().no_version.to_owned();
        }
        let earlier = builds.len().saturating_sub(BUILDS);
        let shown = builds.iter().skip(earlier).map(|build| {
            let name = self.build(build);
            match self.is_in_window(self.day_of(build.from)) {
                true => self.words.build_since(&name, &self.time(build.from)),
                false => name,
            }
        });
        self.words.builds(&shown.collect::<Vec<_>>().join(", "), earlier as u64)
    }

    fn is_in_window(&self, day: Date) -> bool {
        let days = self.report.window.from.zip(self.report.window.to);
        days.is_some_and(|(from, to)| (from..=to).contains(&day))
    }

    fn outage(&self, Outage { from, to, runs }: &Outage) -> String {
        // Begun minutes, so that none is 0.
        let minutes = to.duration_since(*from).as_secs().unsigned_abs().div_ceil(60);
        self.words.away(Away {
            from: self.time(*from),
            to: (minutes > 0).then(|| self.end(*from, *to)),
            minutes,
            runs: *runs as u64,
        })
    }

    /// The end of an outage: without its day, if that is the day of the begin.
    fn end(&self, from: Timestamp, to: Timestamp) -> String {
        match self.day_of(from) == self.day_of(to) {
            true => self.report.zone.to_datetime(to).strftime("%H:%M").to_string(),
            false => self.time(to),
        }
    }
}
