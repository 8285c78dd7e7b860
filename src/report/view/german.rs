//! German: the sentences.

mod terms;

use jiff::civil::{Date, Weekday};

use super::words::{Away, Part, Subject, Told, Words};
use crate::{
    domain::{Outcome, Week},
    facts::detect::Detector,
};

pub(super) struct German;

/// In the nominative, and after "von".
const RUNS: [&str; 2] = ["Lauf", "Läufe"];
const OF_RUNS: [&str; 2] = ["Lauf", "Läufen"];
const PERSONAS: [&str; 2] = ["Persona", "Personas"];
const CALLS: [&str; 2] = ["Aufruf", "Aufrufen"];
const MODULES: [&str; 2] = ["Modul", "Module"];
const OF_MODULES: [&str; 2] = ["Modul", "Modulen"];
const TOOLS: [&str; 2] = ["Werkzeug", "Werkzeuge"];
const RATINGS: [&str; 2] = ["Note", "Noten"];

const MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

impl German {
    fn of(&self, Part { n, of }: Part, nouns: [&str; 2]) -> String {
        format!("{} von {}", self.number(n), self.counted(of, nouns))
    }
}

fn weekday(day: Date) -> &'static str {
    match day.weekday() {
        Weekday::Monday => "Montag",
        Weekday::Tuesday => "Dienstag",
        Weekday::Wednesday => "Mittwoch",
        Weekday::Thursday => "Donnerstag",
        Weekday::Friday => "Freitag",
        Weekday::Saturday => "Samstag",
        Weekday::Sunday => "Sonntag",
    }
}

fn month(day: Date) -> &'static str {
    MONTHS.get(day.month() as usize - 1).copied().unwrap_or_default()
}

impl Words for German {
    fn date(&self, day: Date, with_year: bool) -> String {
        let short = weekday(day).get(..2).unwrap_or_default();
        let year = if with_year { day.year().to_string() } else { String::new() };
        format!("{short} {}.{}.{year}", day.day(), day.month())
    }

    fn long_date(&self, day: Date) -> String {
        format!("{}, {}.{}.", weekday(day), day.day(), day.month())
    }

    fn days(&self, from: Date, to: Date) -> String {
        let last = format!("{}. {} {}", to.day(), month(to), to.year());
        match (from.year() == to.year(), from.month() == to.month()) {
            _ if from == to => last,
            (true, true) => format!("{}.–{last}", from.day()),
            (true, false) => format!("{}. {} – {last}", from.day(), month(from)),
            _ => format!("{}. {} {} – {last}", from.day(), month(from), from.year()),
        }
    }

    fn title(&self, week: Option<Week>, days: &str) -> String {
        week.map_or(days.to_owned(), |week| format!("Woche {week}, {days}"))
    }

    fn untitled(&self) -> &'static str {
        "Noch kein Tag"
    }

    fn headline(&self, told: Told) -> String {
        match told {
            Told::NoFacts => {
                "Es ist noch nichts aufgezeichnet; über das Produkt ist nichts bekannt".to_owned()
            }
            Told::NobodyRan { why, is_only } => {
                let why = why.map_or("Grund nicht bekannt".to_owned(), |why| match is_only {
                    true => why.to_owned(),
                    false => format!("meist: {why}"),
                });
                format!("Keine Persona ist gelaufen ({why}); über das Produkt ist nichts bekannt")
            }
            Told::LockedOut { runs } => format!(
                "Das Produkt ließ Personas nicht hinein: {} {} an Anmeldung, Space oder Sitzung",
                self.of(runs, OF_RUNS),
                if runs.n == 1 { "endete" } else { "endeten" }
            ),
            Told::Unreachable { calls } if calls.n == calls.of => format!(
                "Das Produkt war nicht erreichbar: Kein Aufruf kam an ({})",
                self.counted(calls.of, ["Versuch", "Versuche"])
            ),
            Told::Unreachable { calls } => format!(
                "Das Produkt war oft nicht erreichbar: {} {} nicht an",
                self.of(calls, CALLS),
                if calls.n == 1 { "kam" } else { "kamen" }
            ),
            Told::FailedByUs { runs } => format!(
                "{} {} am Runner oder am Modell; über das Produkt ist wenig bekannt",
                self.of(runs, OF_RUNS),
                if runs.n == 1 { "scheiterte" } else { "scheiterten" }
            ),
            Told::NothingUsed { runs } => format!(
                "In {} gab es keinen Aufruf, den das Produkt beantwortet hat; über das Produkt ist nichts bekannt",
                self.counted(runs, OF_RUNS)
            ),
            Told::TooFew { runs, personas, failed } => {
                let failed = match failed.n {
                    0 => String::new(),
                    _ => {
                        let verb = if failed.n == 1 { "scheiterte" } else { "scheiterten" };
                        format!("; {} {verb}", self.of(failed, CALLS))
                    }
                };
                format!(
                    "Zu wenig für ein Urteil: nur {} von {}{failed}",
                    self.counted(runs, RUNS),
                    self.counted(personas, PERSONAS)
                )
            }
            Told::MostCallsFail { calls, worst } => {
                let worst = worst.map_or(String::new(), |it| format!("; am häufigsten: {it}"));
                let [n, of] = [calls.n, calls.of].map(|n| self.number(n));
                format!("Die meisten Aufrufe scheitern ({n} von {of}){worst}")
            }
            Told::Hurts { what, personas, runs, since, others } => {
                let since = since.map_or(String::new(), |since| format!(", {since}"));
                let others = match others {
                    0 => String::new(),
                    1 => "; dazu 1 weiteres Problem".to_owned(),
                    n => format!("; dazu {} weitere Probleme", self.number(n)),
                };
                format!("{what}: {}{since}{others}", self.counts(personas, runs))
            }
            Told::NothingRaised { runs, personas, resolved, muted, failed, untested } => {
                let mut seen = format!(
                    "Kein Detektor schlug an in {} von {}",
                    self.counted(runs, OF_RUNS),
                    self.counted(personas, PERSONAS)
                );
                let known = [(resolved, "Behobenem"), (muted, "stumm Geschaltetem")];
                let known = known.into_iter().filter(|(count, _)| *count > 0);
                let known: Vec<_> =
                    known.map(|(count, what)| format!("{what} ({})", self.number(count))).collect();
                if !known.is_empty() {
                    seen.push_str(&format!(", außer bei {}", known.join(" und ")));
                }
                if failed.n > 0 {
                    let verb = if failed.n == 1 { "scheiterte" } else { "scheiterten" };
                    seen.push_str(&format!("; {} {verb}", self.of(failed, CALLS)));
                }
                match untested.n {
                    0 => format!("{seen}; was niemand benutzt hat, ist nicht geprüft"),
                    1 => format!(
                        "{seen}; keine Entwarnung, denn 1 von {} ist kaum oder nicht getestet",
                        self.counted(untested.of, OF_MODULES)
                    ),
                    _ => format!(
                        "{seen}; keine Entwarnung, denn {} sind kaum oder nicht getestet",
                        self.of(untested, OF_MODULES)
                    ),
                }
            }
        }
    }

    fn missed(&self, runs: Part, why: &str) -> String {
        let of = self.counted(runs.of, ["fälligen Lauf", "fälligen Läufen"]);
        let verb = if runs.n == 1 { "fiel" } else { "fielen" };
        format!(" – {} von {of} {verb} aus ({why})", self.number(runs.n))
    }

    fn new_since(&self, since: &str) -> String {
        format!("neu seit {since}")
    }

    fn fleet(&self, personas: u64, runs: u64, days: u64) -> String {
        format!(
            "{}, {} an {}.",
            self.counted(personas, PERSONAS),
            self.counted(runs, RUNS),
            self.counted(days, ["Persona-Tag", "Persona-Tagen"])
        )
    }

    fn absent(&self, runs: u64, why: &str) -> String {
        format!("Nicht gelaufen, obwohl fällig: {} ({why}).", self.number(runs))
    }

    fn runner_down(&self, days: u64) -> String {
        format!("Runner aus: {}.", self.counted(days, ["Persona-Tag", "Persona-Tage"]))
    }

    fn unfinished(&self, failed: u64, locked_out: u64) -> String {
        let failed = (failed > 0)
            .then(|| format!("am Runner oder am Modell gescheitert: {}", self.number(failed)));
        let locked_out = (locked_out > 0)
            .then(|| format!("nicht ins Produkt gekommen: {}", self.number(locked_out)));
        let both: Vec<_> = failed.into_iter().chain(locked_out).collect();
        format!("Läufe, die nicht zu Ende kamen: {}.", both.join(", "))
    }

    fn builds(&self, builds: &str, earlier: u64) -> String {
        let earlier = match earlier {
            0 => String::new(),
            n => format!("; davor {} weitere", self.number(n)),
        };
        format!("Version des Produkts: {builds}{earlier}.")
    }

    fn build_since(&self, build: &str, since: &str) -> String {
        format!("{build} seit {since}")
    }

    fn away(&self, Away { from, to, minutes, runs }: Away) -> String {
        let runs = self.counted(runs, RUNS);
        match to {
            None => format!("Nicht erreichbar: {from} ({runs})."),
            Some(to) => {
                let minutes = self.counted(minutes, ["Minute", "Minuten"]);
                format!("Nicht erreichbar: {from} bis {to} ({minutes}, {runs}).")
            }
        }
    }

    fn more_outages(&self, count: u64) -> String {
        format!("Nicht erreichbar: noch {} Mal.", self.number(count))
    }

    fn quoted(&self, text: &str) -> String {
        format!("„{text}“")
    }

    fn matter(&self, subject: &Subject, detector: Detector) -> String {
        let [one, many] = match detector {
            Detector::DeadEnd | Detector::Fails | Detector::Repeated => ["scheitert", "scheitern"],
            Detector::Fumbling => ["klappt erst nach Probieren", "klappen erst nach Probieren"],
            Detector::FieldTrap => ["lehnt dasselbe Feld ab", "lehnen dasselbe Feld ab"],
            Detector::Slow => ["ist langsam", "sind langsam"],
            Detector::Unsure => ["bricht ohne Antwort ab", "brechen ohne Antwort ab"],
            Detector::Flood => ["antwortet zu lang", "antworten zu lang"],
            Detector::GaveUp => ["ist aufgegeben worden", "sind aufgegeben worden"],
            Detector::SilentPain => ["bekommt schlechte Noten", "bekommen schlechte Noten"],
            Detector::LockedOut => ["sperrt Personas aus", "sperren Personas aus"],
        };
        let verb = if subject.is_plural() { many } else { one };
        match subject {
            Subject::Tool(name) => format!("{name} {verb}"),
            Subject::ToolsOf(module) => format!("Werkzeuge von {module} {verb}"),
            Subject::Module(module) => format!("Modul {module} {verb}"),
            Subject::Several => format!("Werkzeuge mehrerer Module {verb}"),
        }
    }

    fn locked_out(&self, outcome: Option<Outcome>) -> String {
        let place = match outcome {
            Some(Outcome::Login) => "die Anmeldung",
            Some(Outcome::Space) => "die Suche nach ihrem Space",
            Some(Outcome::Session) => "das Öffnen der Sitzung",
            _ => "den Anfang",
        };
        format!("Personas kommen nicht über {place} hinaus")
    }

    fn impact(&self, stopped: &str, personas: u64) -> String {
        format!("hält am Tag im Mittel {stopped} von {} auf", self.counted(personas, PERSONAS))
    }

    fn counts(&self, personas: Part, runs: Part) -> String {
        format!("{}, {}", self.of(personas, PERSONAS), self.of(runs, OF_RUNS))
    }

    fn then(&self, what: &str) -> String {
        format!("Danach: {what}")
    }

    fn seen(&self, first: &str, last: &str) -> String {
        format!("zuerst {first}; zuletzt {last}")
    }

    fn seen_in_window(&self, first: &str, last: &str) -> String {
        format!("in diesen Tagen zuerst {first}; zuletzt {last}")
    }

    fn with_build(&self, at: &str, build: &str) -> String {
        format!("{at} mit {build}")
    }

    fn call(&self, number: u32) -> String {
        format!("Aufruf {number}")
    }

    fn hits_by_day(&self, runs: u64, days: u64) -> String {
        let days = self.counted(days, ["Tag", "Tagen"]);
        format!("{} damit an {days} der letzten 28 Tage", self.counted(runs, RUNS))
    }

    fn hits_by_day_of_window(&self, runs: u64, days: u64) -> String {
        let days = self.counted(days, ["Tag", "Tagen"]);
        format!("{} damit an {days} dieses Zeitraums", self.counted(runs, RUNS))
    }

    fn not_shown(&self, count: u64, names: &str) -> String {
        let names = if names.is_empty() { String::new() } else { format!(": {names}") };
        let more = if count == 1 { "weiteres" } else { "weitere" };
        format!("und {} {more}{names}", self.number(count))
    }

    fn last_hit(&self, day: &str) -> String {
        format!("zuletzt {day}, seitdem nicht mehr")
    }

    fn tools_added(&self, count: u64, names: &str) -> String {
        format!("{} dazu: {names}", self.counted(count, TOOLS))
    }

    fn tools_removed(&self, count: u64, names: &str) -> String {
        format!("{} weg: {names}", self.counted(count, TOOLS))
    }

    fn tools_changed(&self, count: u64, names: &str) -> String {
        format!("{} mit anderer Beschreibung oder Eingabe: {names}", self.counted(count, TOOLS))
    }

    fn tool_list(&self) -> &'static str {
        "Werkzeuge"
    }

    fn usage(&self, personas: u64, runs: u64) -> String {
        format!("{}, {}", self.counted(personas, PERSONAS), self.counted(runs, RUNS))
    }

    fn of_personas(&self, personas: u64) -> String {
        self.counted(personas, PERSONAS)
    }

    fn singly(&self, points: &str) -> String {
        format!("einzeln {points}")
    }

    fn mean(&self, mean: &str, ratings: u64, ungrounded: u64) -> String {
        let ungrounded = match ungrounded {
            0 => String::new(),
            n => format!(", dazu {} ohne Beleg", self.number(n)),
        };
        format!("{mean} aus {}{ungrounded}", self.counted(ratings, RATINGS))
    }

    fn of_runs(&self, runs: u64) -> String {
        format!("von {}", self.counted(runs, OF_RUNS))
    }

    fn ratings_by_day(&self, lowest: &str, highest: &str) -> String {
        format!("Noten der letzten 28 Tage: am Tag im Mittel {lowest} bis {highest}")
    }

    fn not_tested(&self, why: &str, modules: u64, tools: u64) -> String {
        let counts = [(modules, MODULES), (tools, TOOLS)].into_iter().filter(|(n, _)| *n > 0);
        let counts: Vec<_> = counts.map(|(n, nouns)| self.counted(n, nouns)).collect();
        format!("{why}: {}", counts.join(", "))
    }

    fn last_days(&self, shown: u64, of: u64) -> String {
        format!("Gezeigt sind die letzten {} von {} Tagen.", self.number(shown), self.number(of))
    }

    fn noise(&self, share: Option<&str>, rating: Option<&str>) -> String {
        let [share, rating] = [share, rating].map(|floor| floor.unwrap_or("nicht bekannt"));
        format!(
            "Rauschen: Anteile {share}, Noten {rating} (1 = die Wochen davor schwanken nur durch Zufall)."
        )
    }

    fn too_kind(&self, share: &str, interval: &str, ratings: u64) -> String {
        let of = self.counted(ratings, RATINGS);
        format!("Zu freundlich: {share} von {of} nach einer Sackgasse sind 4 oder 5 {interval}.")
    }

    fn ungrounded(&self, ratings: u64) -> String {
        let verb = if ratings == 1 { "nennt" } else { "nennen" };
        let none = if ratings == 1 { "zählt" } else { "zählen" };
        let ratings = self.counted(ratings, RATINGS);
        format!(
            "Ohne Beleg: {ratings} {verb} keinen Aufruf des Moduls und {none} in keinem Mittel."
        )
    }

    fn without_rating(&self, uses: Part, why: &str) -> String {
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let of = self.counted(uses.of, ["Modul-Nutzung", "Modul-Nutzungen"]);
        format!("Ohne Note: {} von {of}{why}.", self.number(uses.n))
    }

    fn confounded(&self, changes: &[(String, String)]) -> String {
        let changes: Vec<_> =
            changes.iter().map(|(day, what)| format!("seit {day}: {what}")).collect();
        format!("Verändert {}. Das kann der Grund für Unterschiede sein.", changes.join("; "))
    }

    fn muted(&self, count: u64) -> String {
        let problems = self.counted(count, ["Problem", "Probleme"]);
        format!("Stumm geschaltet und hier nicht gezeigt: {problems}.")
    }

    fn calls_lost(&self, runs: u64) -> String {
        format!(
            "Die einzelnen Aufrufe von {} sind nicht mehr gespeichert: Vermisst, Langsam, nicht erreichbar und \
             „Danach“ kennen sie nicht.",
            self.counted(runs, OF_RUNS)
        )
    }

    fn cost(&self, usd: &str, per_day: Option<&str>) -> String {
        let per_day = per_day.map_or(String::new(), |it| format!(", {it} USD je Persona-Tag"));
        format!("{usd} USD{per_day}.")
    }

    fn footer(&self, zone: &str) -> String {
        format!(
            "Eckige Klammern: Intervall von 95 %. Anteile zählen Läufe, die das Werkzeug benutzten. Zeiten: {zone}. \
             Alles Weitere steht in der Form JSON dieses Berichts."
        )
    }
}
