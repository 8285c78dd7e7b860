//! Words that several pages share: what a run came to, why a call failed, amounts of money and lengths of time.

use std::time::Duration;

use crate::{
    domain::{Blame, Cause, Label, Language, Outcome, RunState, Stage, Usd, clipped_line},
    report::view::{languages, words::Words},
};

/// Longest stage that this version does not know, in characters.
const STAGE: usize = 40;

/// The terms of a language.
#[derive(Clone, Copy)]
pub(in crate::ui) struct Terms(Language);

pub(in crate::ui) fn terms(language: Language) -> Terms {
    Terms(language)
}

impl Terms {
    fn of(self, [german, english]: [&'static str; 2]) -> &'static str {
        if self.0 == Language::German { german } else { english }
    }

    fn words(self) -> &'static dyn Words {
        languages::words(self.0)
    }

    /// What a run came to.
    pub(in crate::ui) fn outcome(self, outcome: Outcome) -> &'static str {
        self.of(match outcome {
            Outcome::Done => ["zu Ende gespielt", "played to its end"],
            Outcome::Turns => ["Runden oder Kontext aufgebraucht", "out of turns or context"],
            Outcome::Cost => ["Geld aufgebraucht", "out of money"],
            Outcome::Stopped => ["angehalten", "stopped"],
            Outcome::Login => ["Anmeldung gescheitert", "login failed"],
            Outcome::Space => ["kein Space gefunden", "no space found"],
            Outcome::Session => ["keine Sitzung mit dem Produkt", "no session with the product"],
            Outcome::Failed => ["gescheitert", "failed"],
        })
    }

    /// The state of a run that an outcome does not say.
    pub(in crate::ui) fn state(self, state: RunState) -> &'static str {
        self.of(match state {
            RunState::Running => ["läuft", "running"],
            RunState::RatingOwed => ["Noten stehen aus", "ratings are owed"],
            RunState::Finished => ["beendet", "finished"],
            RunState::Failed => ["gescheitert, wird wiederholt", "failed, is tried again"],
        })
    }

    /// What a run came to, or its state if it has not ended, or ended in an earlier version of this program.
    pub(in crate::ui) fn came_to(self, state: RunState, outcome: Option<Outcome>) -> &'static str {
        match (state, outcome) {
            (RunState::Finished | RunState::Failed, Some(outcome)) => self.outcome(outcome),
            _ => self.state(state),
        }
    }

    /// That rows of a run were refused for good.
    pub(in crate::ui) fn refused(self) -> &'static str {
        self.of(["Zeilen abgelehnt", "rows refused"])
    }

    /// The last stage that a run has reached.
    pub(in crate::ui) fn stage(self, stage: &str) -> String {
        let Some(stage) = Stage::parse(stage) else { return clipped_line(stage, STAGE) };
        let words = match stage {
            Stage::Due => ["fällig", "due"],
            Stage::Login => ["Anmeldung", "login"],
            Stage::Space => ["Suche nach dem Space", "search for the space"],
            Stage::Mcp => ["Sitzung mit dem Produkt", "session with the product"],
            Stage::MainTurn => ["der Tag im Produkt", "the day in the product"],
            Stage::PostActions => ["Abgabe der Aufrufe", "handing in the calls"],
            Stage::RatingTurn => ["Frage nach Noten", "question for ratings"],
            Stage::PostFeedback => ["Abgabe der Noten", "handing in the ratings"],
            Stage::Done => ["alles abgegeben", "everything handed in"],
        };
        self.of(words).to_owned()
    }

    /// Why a call failed, in a few words; `words::frictions` has a sentence.
    pub(in crate::ui) fn cause(self, cause: Cause) -> &'static str {
        self.of(match cause {
            Cause::Handler => ["Fehler des Werkzeugs", "error of the tool"],
            Cause::Coded => ["Fehler mit Kennung", "error with a code"],
            Cause::Rpc => ["Protokollfehler", "protocol error"],
            Cause::Cut => ["keine Antwort", "no answer"],
            Cause::ServerPolicy => ["vom Server verboten", "forbidden by the server"],
            Cause::Vanished => ["Werkzeug verschwunden", "tool vanished"],
            Cause::RejectedInput => ["Eingabe abgelehnt", "input rejected"],
            Cause::Unreachable => ["nicht erreichbar", "unreachable"],
            Cause::Invented => ["erfundenes Werkzeug", "invented tool"],
            Cause::BadJson => ["Eingabe ist kein JSON", "input is no JSON"],
            Cause::RunnerPolicy => ["vom Runner verboten", "forbidden by the runner"],
            Cause::Stopped => ["abgebrochen", "broken off"],
        })
    }

    /// Who is to blame for a failed call.
    pub(in crate::ui) fn blame(self, blame: Blame) -> &'static str {
        self.of(match blame {
            Blame::Product => ["das Produkt", "the product"],
            Blame::Contract => {
                ["der Vertrag: Schema und Prüfung", "the contract: schema and checks"]
            }
            Blame::Infra => ["Netz oder Server", "network or server"],
            Blame::Model => ["das Modell", "the model"],
            Blame::Runner => ["der Runner", "the runner"],
        })
    }

    /// An amount of money.
    pub(in crate::ui) fn usd(self, amount: Usd) -> String {
        let usd = amount.dollars();
        let digits = if usd > 0.0 && usd < 0.1 { 4 } else { 2 };
        format!("{} USD", self.words().decimal(usd, digits))
    }

    /// A length of time, with two or three digits that count.
    pub(in crate::ui) fn took(self, time: Duration) -> String {
        let (millis, seconds) = (time.as_millis(), time.as_secs());
        match seconds {
            0 => format!("{millis} ms"),
            1..60 => format!("{} s", self.words().decimal(time.as_secs_f64(), 1)),
            60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
            _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_times_are_told_with_the_digits_that_count() {
        let told = [7, 999, 1_250, 59_949, 61_000, 3_725_000];
        let told = told.map(|millis| terms(Language::German).took(Duration::from_millis(millis)));
        assert_eq!(told, ["7 ms", "999 ms", "1,2 s", "59,9 s", "1 min 1 s", "1 h 2 min"]);
    }

    #[test]
    fn each_word_differs_between_the_languages() {
        let [german, english] = [Language::German, Language::English].map(terms);
        for outcome in Outcome::ALL {
            assert_ne!(german.outcome(*outcome), english.outcome(*outcome));
        }
        for cause in Cause::ALL {
            assert_ne!(german.cause(*cause), english.cause(*cause));
        }
        for stage in Stage::ALL {
            let names = [german, english].map(|terms| terms.stage(stage.as_str()));
            assert_ne!(names[0], names[1]);
        }
        assert_eq!(german.stage("later\nversion"), "later version");
    }
}
