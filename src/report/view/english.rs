//! English: the sentences.

mod terms;

use jiff::civil::{Date, Weekday};

use super::words::{Away, Part, Subject, Told, Words};
use crate::{
    domain::{Outcome, Week},
    facts::detect::Detector,
};

pub(super) struct English;

const RUNS: [&str; 2] = ["run", "runs"];
const PERSONAS: [&str; 2] = ["persona", "personas"];
const CALLS: [&str; 2] = ["call", "calls"];
const MODULES: [&str; 2] = ["module", "modules"];
const TOOLS: [&str; 2] = ["tool", "tools"];
const RATINGS: [&str; 2] = ["rating", "ratings"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl English {
    fn of(&self, Part { n, of }: Part, nouns: [&str; 2]) -> String {
        format!("{} of {}", self.number(n), self.counted(of, nouns))
    }
}

fn weekday(day: Date) -> &'static str {
    match day.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

fn month(day: Date) -> &'static str {
    MONTHS.get(day.month() as usize - 1).copied().unwrap_or_default()
}

impl Words for English {
    fn date(&self, day: Date, with_year: bool) -> String {
        let short = |name: &'static str| name.get(..3).unwrap_or_default();
        let year = if with_year { format!(" {}", day.year()) } else { String::new() };
        format!("{} {} {}{year}", short(weekday(day)), day.day(), short(month(day)))
    }

    fn long_date(&self, day: Date) -> String {
        format!("{}, {} {}", weekday(day), day.day(), month(day))
    }

    fn days(&self, from: Date, to: Date) -> String {
        let last = format!("{} {} {}", to.day(), month(to), to.year());
        match (from.year() == to.year(), from.month() == to.month()) {
            _ if from == to => last,
            (true, true) => format!("{}–{last}", from.day()),
            (true, false) => format!("{} {} – {last}", from.day(), month(from)),
            _ => format!("{} {} {} – {last}", from.day(), month(from), from.year()),
        }
    }

    fn title(&self, week: Option<Week>, days: &str) -> String {
        week.map_or(days.to_owned(), |week| format!("Week {week}, {days}"))
    }

    fn untitled(&self) -> &'static str {
        "No day yet"
    }

    fn headline(&self, told: Told) -> String {
        match told {
            Told::NoFacts => {
                "Nothing is recorded yet; nothing is known about the product".to_owned()
            }
            Told::NobodyRan { why, is_only } => {
                let why = why.map_or("reason not known".to_owned(), |why| match is_only {
                    true => why.to_owned(),
                    false => format!("mostly: {why}"),
                });
                format!("No persona ran ({why}); nothing is known about the product")
            }
            Told::LockedOut { runs } => format!(
                "The product did not let personas in: {} ended at login, space or session",
                self.of(runs, RUNS)
            ),
            Told::Unreachable { calls } if calls.n == calls.of => format!(
                "The product could not be reached: no call arrived ({})",
                self.counted(calls.of, ["try", "tries"])
            ),
            Told::Unreachable { calls } => format!(
                "The product often could not be reached: {} did not arrive",
                self.of(calls, CALLS)
            ),
            Told::FailedByUs { runs } => format!(
                "{} failed because of the runner or the model; little is known about the product",
                self.of(runs, RUNS)
            ),
            Told::NothingUsed { runs } => format!(
                "In {} there was no call that the product answered; nothing is known about the product",
                self.counted(runs, RUNS)
            ),
            Told::TooFew { runs, personas, failed } => {
                let failed = match failed.n {
                    0 => String::new(),
                    _ => {
                        format!("; {} failed", self.of(failed, CALLS))
                    }
                };
                format!(
                    "Too little to judge: only {} of {}{failed}",
                    self.counted(runs, RUNS),
                    self.counted(personas, PERSONAS)
                )
            }
            Told::MostCallsFail { calls, worst } => {
                let worst = worst.map_or(String::new(), |it| format!("; most often: {it}"));
                let [n, of] = [calls.n, calls.of].map(|n| self.number(n));
                format!("Most calls fail ({n} of {of}){worst}")
            }
            Told::Hurts { what, personas, runs, since, others } => {
                let since = since.map_or(String::new(), |since| format!(", {since}"));
                let others = match others {
                    0 => String::new(),
                    n => format!("; and {}", self.counted(n, ["more problem", "more problems"])),
                };
                format!("{what}: {}{since}{others}", self.counts(personas, runs))
            }
            Told::NothingRaised { runs, personas, resolved, muted, failed, untested } => {
                let mut seen = format!(
                    "No detector raised anything in {} of {}",
                    self.counted(runs, RUNS),
                    self.counted(personas, PERSONAS)
                );
                let known = [(resolved, "what is resolved"), (muted, "what is muted")];
                let known = known.into_iter().filter(|(count, _)| *count > 0);
                let known: Vec<_> =
                    known.map(|(count, what)| format!("{what} ({})", self.number(count))).collect();
                if !known.is_empty() {
                    seen.push_str(&format!(", apart from {}", known.join(" and ")));
                }
                if failed.n > 0 {
                    seen.push_str(&format!("; {} failed", self.of(failed, CALLS)));
                }
                match untested.n {
                    0 => format!("{seen}; what nobody used is not checked"),
                    n => format!(
                        "{seen}; no all-clear, because {} {} hardly or not tested",
                        self.of(untested, MODULES),
                        if n == 1 { "is" } else { "are" }
                    ),
                }
            }
        }
    }

    fn missed(&self, runs: Part, why: &str) -> String {
        format!(" – {} did not take place ({why})", self.of(runs, ["due run", "due runs"]))
    }

    fn new_since(&self, since: &str) -> String {
        format!("new since {since}")
    }

    fn fleet(&self, personas: u64, runs: u64, days: u64) -> String {
        format!(
            "{}, {} on {}.",
            self.counted(personas, PERSONAS),
            self.counted(runs, RUNS),
            self.counted(days, ["persona day", "persona days"])
        )
    }

    fn absent(&self, runs: u64, why: &str) -> String {
        format!("Did not run although due: {} ({why}).", self.number(runs))
    }

    fn runner_down(&self, days: u64) -> String {
        format!("Runner down: {}.", self.counted(days, ["persona day", "persona days"]))
    }

    fn unfinished(&self, failed: u64, locked_out: u64) -> String {
        let failed = (failed > 0)
            .then(|| format!("failed because of the runner or the model: {}", self.number(failed)));
        let locked_out = (locked_out > 0)
            .then(|| format!("did not get into the product: {}", self.number(locked_out)));
        let both: Vec<_> = failed.into_iter().chain(locked_out).collect();
        format!("Runs that did not come to their end: {}.", both.join(", "))
    }

    fn builds(&self, builds: &str, earlier: u64) -> String {
        let earlier = match earlier {
            0 => String::new(),
            n => format!(", and {} earlier", self.number(n)),
        };
        format!("Version of the product: {builds}{earlier}.")
    }

    fn build_since(&self, build: &str, since: &str) -> String {
        format!("{build} since {since}")
    }

    fn away(&self, Away { from, to, minutes, runs }: Away) -> String {
        let runs = self.counted(runs, RUNS);
        match to {
            None => format!("Not reachable: {from} ({runs})."),
            Some(to) => {
                let minutes = self.counted(minutes, ["minute", "minutes"]);
                format!("Not reachable: {from} to {to} ({minutes}, {runs}).")
            }
        }
    }

    fn more_outages(&self, count: u64) -> String {
        format!("Not reachable: {} more.", self.counted(count, ["time", "times"]))
    }

    fn quoted(&self, text: &str) -> String {
        format!("“{text}”")
    }

    fn matter(&self, subject: &Subject, detector: Detector) -> String {
        let [one, many] = match detector {
            Detector::DeadEnd | Detector::Fails | Detector::Repeated => ["fails", "fail"],
            Detector::Fumbling => ["works only after fumbling", "work only after fumbling"],
            Detector::FieldTrap => ["rejects the same field", "reject the same field"],
            Detector::Slow => ["is slow", "are slow"],
            Detector::Unsure => ["breaks off without an answer", "break off without an answer"],
            Detector::Flood => ["answers too long", "answer too long"],
            Detector::GaveUp => ["was given up", "were given up"],
            Detector::SilentPain => ["is rated low", "are rated low"],
            Detector::LockedOut => ["keeps personas out", "keep personas out"],
        };
        let verb = if subject.is_plural() { many } else { one };
        match subject {
            Subject::Tool(name) => format!("{name} {verb}"),
            Subject::ToolsOf(module) => format!("Tools of {module} {verb}"),
            Subject::Module(module) => format!("Module {module} {verb}"),
            Subject::Several => format!("Tools of several modules {verb}"),
        }
    }

    fn locked_out(&self, outcome: Option<Outcome>) -> String {
        let place = match outcome {
            Some(Outcome::Login) => "the login",
            Some(Outcome::Space) => "the search for their space",
            Some(Outcome::Session) => "the opening of the session",
            _ => "the beginning",
        };
        format!("Personas do not get past {place}")
    }

    fn impact(&self, stopped: &str, personas: u64) -> String {
        format!("stops {stopped} of {} on an average day", self.counted(personas, PERSONAS))
    }

    fn counts(&self, personas: Part, runs: Part) -> String {
        format!("{}, {}", self.of(personas, PERSONAS), self.of(runs, RUNS))
    }

    fn then(&self, what: &str) -> String {
        format!("Then: {what}")
    }

    fn seen(&self, first: &str, last: &str) -> String {
        format!("first {first}; last {last}")
    }

    fn seen_in_window(&self, first: &str, last: &str) -> String {
        format!("in these days first {first}; last {last}")
    }

    fn with_build(&self, at: &str, build: &str) -> String {
        format!("{at} with {build}")
    }

    fn call(&self, number: u32) -> String {
        format!("call {number}")
    }

    fn hits_by_day(&self, runs: u64, days: u64) -> String {
        let days = self.counted(days, ["day", "days"]);
        format!("{} had it, on {days} of the last 28", self.counted(runs, RUNS))
    }

    fn hits_by_day_of_window(&self, runs: u64, days: u64) -> String {
        let days = self.counted(days, ["day", "days"]);
        format!("{} had it, on {days} of this period", self.counted(runs, RUNS))
    }

    fn not_shown(&self, count: u64, names: &str) -> String {
        let names = if names.is_empty() { String::new() } else { format!(": {names}") };
        format!("and {} more{names}", self.number(count))
    }

    fn last_hit(&self, day: &str) -> String {
        format!("last on {day}, not since")
    }

    fn tools_added(&self, count: u64, names: &str) -> String {
        format!("{} added: {names}", self.counted(count, TOOLS))
    }

    fn tools_removed(&self, count: u64, names: &str) -> String {
        format!("{} gone: {names}", self.counted(count, TOOLS))
    }

    fn tools_changed(&self, count: u64, names: &str) -> String {
        format!("{} with another description or input: {names}", self.counted(count, TOOLS))
    }

    fn tool_list(&self) -> &'static str {
        "tools"
    }

    fn usage(&self, personas: u64, runs: u64) -> String {
        format!("{}, {}", self.counted(personas, PERSONAS), self.counted(runs, RUNS))
    }

    fn of_personas(&self, personas: u64) -> String {
        self.counted(personas, PERSONAS)
    }

    fn singly(&self, points: &str) -> String {
        format!("each {points}")
    }

    fn mean(&self, mean: &str, ratings: u64, ungrounded: u64) -> String {
        let ungrounded = match ungrounded {
            0 => String::new(),
            n => format!(", and {} without evidence", self.number(n)),
        };
        format!("{mean} of {}{ungrounded}", self.counted(ratings, RATINGS))
    }

    fn of_runs(&self, runs: u64) -> String {
        format!("of {}", self.counted(runs, RUNS))
    }

    fn ratings_by_day(&self, lowest: &str, highest: &str) -> String {
        format!("ratings of the last 28 days: a day's mean is {lowest} to {highest}")
    }

    fn not_tested(&self, why: &str, modules: u64, tools: u64) -> String {
        let counts = [(modules, MODULES), (tools, TOOLS)].into_iter().filter(|(n, _)| *n > 0);
        let counts: Vec<_> = counts.map(|(n, nouns)| self.counted(n, nouns)).collect();
        format!("{why}: {}", counts.join(", "))
    }

    fn last_days(&self, shown: u64, of: u64) -> String {
        format!("The last {} of {} days are shown.", self.number(shown), self.number(of))
    }

    fn noise(&self, share: Option<&str>, rating: Option<&str>) -> String {
        let [share, rating] = [share, rating].map(|floor| floor.unwrap_or("not known"));
        format!(
            "Noise: shares {share}, ratings {rating} (1 = the weeks before differ by chance alone)."
        )
    }

    fn too_kind(&self, share: &str, interval: &str, ratings: u64) -> String {
        let of = self.counted(ratings, RATINGS);
        format!("Too kind: {share} of {of} after a dead end are 4 or 5 {interval}.")
    }

    fn ungrounded(&self, ratings: u64) -> String {
        let verbs = if ratings == 1 {
            "names no call of the module and is"
        } else {
            "name no call of the module and are"
        };
        format!("Without evidence: {} {verbs} in no mean.", self.counted(ratings, RATINGS))
    }

    fn without_rating(&self, uses: Part, why: &str) -> String {
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        format!(
            "Without a rating: {}{why}.",
            self.of(uses, ["use of a module", "uses of a module"])
        )
    }

    fn confounded(&self, changes: &[(String, String)]) -> String {
        let changes: Vec<_> =
            changes.iter().map(|(day, what)| format!("since {day}: {what}")).collect();
        format!("Changed {}. It may be the reason for differences.", changes.join("; "))
    }

    fn muted(&self, count: u64) -> String {
        format!("Muted and not shown here: {}.", self.counted(count, ["problem", "problems"]))
    }

    fn calls_lost(&self, runs: u64) -> String {
        format!(
            "The single calls of {} are no longer kept: missed, slow, not reachable and “then” do not know them.",
            self.counted(runs, RUNS)
        )
    }

    fn cost(&self, usd: &str, per_day: Option<&str>) -> String {
        let per_day = per_day.map_or(String::new(), |it| format!(", {it} USD a persona day"));
        format!("{usd} USD{per_day}.")
    }

    fn footer(&self, zone: &str) -> String {
        format!(
            "Square brackets: interval of 95 %. Shares count runs that used the tool. Times: {zone}. Everything else is \
             in the JSON form of this report."
        )
    }
}
