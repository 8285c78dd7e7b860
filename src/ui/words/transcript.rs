//! Words of the page of a run.

mod english;
mod german;

use std::time::Duration;

use crate::{
    domain::{Language, Usd},
    report::view::{languages, words::Words as View},
    ui::words::terms::{Terms, terms},
};

/// The words of a language. What has numbers or other texts in it is a function.
pub(in crate::ui) struct Words {
    language: Language,

    pub(in crate::ui) earlier: &'static str,
    pub(in crate::ui) later: &'static str,
    pub(in crate::ui) goes_on: &'static str,
    pub(in crate::ui) rating_owed: &'static str,
    pub(in crate::ui) refused_once: &'static str,

    // What is known of the run.
    pub(in crate::ui) details: &'static str,
    pub(in crate::ui) about: &'static str,
    pub(in crate::ui) persona: &'static str,
    pub(in crate::ui) came_to: &'static str,
    pub(in crate::ui) stage: &'static str,
    pub(in crate::ui) begun: &'static str,
    pub(in crate::ui) slot: &'static str,
    pub(in crate::ui) size: &'static str,
    pub(in crate::ui) frictions: &'static str,
    pub(in crate::ui) no_friction: &'static str,
    pub(in crate::ui) cost: &'static str,
    pub(in crate::ui) product: &'static str,
    pub(in crate::ui) model: &'static str,
    pub(in crate::ui) effort: &'static str,
    pub(in crate::ui) policy: &'static str,
    pub(in crate::ui) prompt_hash: &'static str,
    pub(in crate::ui) runner: &'static str,
    pub(in crate::ui) run: &'static str,
    pub(in crate::ui) outbox: &'static str,
    pub(in crate::ui) unknown: &'static str,

    // The conversation.
    pub(in crate::ui) conversation: &'static str,
    pub(in crate::ui) calls: &'static str,
    pub(in crate::ui) ratings: &'static str,
    pub(in crate::ui) refused: &'static str,
    pub(in crate::ui) who: &'static str,
    pub(in crate::ui) opening: &'static str,
    pub(in crate::ui) reminder: &'static str,
    pub(in crate::ui) system_reminder: &'static str,
    pub(in crate::ui) question: &'static str,
    pub(in crate::ui) answer: &'static str,
    pub(in crate::ui) steps_gone: &'static str,
    pub(in crate::ui) calls_gone: &'static str,
    pub(in crate::ui) nothing_said: &'static str,
    pub(in crate::ui) not_billed: &'static str,
    pub(in crate::ui) without_attachments: &'static str,
    pub(in crate::ui) without_thinking: &'static str,
    pub(in crate::ui) no_ratings: &'static str,
    pub(in crate::ui) unrated: &'static str,
    pub(in crate::ui) unreadable: &'static str,
    pub(in crate::ui) rests_on_none: &'static str,
    pub(in crate::ui) rests_on: &'static str,
    pub(in crate::ui) ratings_on_it: &'static str,
    pub(in crate::ui) more_parts: &'static str,
    pub(in crate::ui) calls_elsewhere: &'static str,

    // A call.
    pub(in crate::ui) ok: &'static str,
    pub(in crate::ui) failed: &'static str,
    pub(in crate::ui) unsure: &'static str,
    pub(in crate::ui) not_back_yet: &'static str,
    pub(in crate::ui) ran_or_not: &'static str,
    pub(in crate::ui) not_made_yet: &'static str,
    pub(in crate::ui) not_made: &'static str,
    pub(in crate::ui) next: &'static str,
    pub(in crate::ui) friction: &'static str,
    pub(in crate::ui) tries: &'static str,
    pub(in crate::ui) input: &'static str,
    pub(in crate::ui) result: &'static str,
    pub(in crate::ui) no_text: &'static str,
    pub(in crate::ui) hint: &'static str,
    pub(in crate::ui) show_all: &'static str,
    pub(in crate::ui) texts_gone: &'static str,
    pub(in crate::ui) to_run: &'static str,
    pub(in crate::ui) previous_call: &'static str,
    pub(in crate::ui) next_call: &'static str,
}

pub(in crate::ui) fn words(language: Language) -> &'static Words {
    match language {
        Language::German => &german::WORDS,
        Language::English => &english::WORDS,
    }
}

impl Words {
    fn is_german(&self) -> bool {
        self.language == Language::German
    }

    fn view(&self) -> &'static dyn View {
        languages::words(self.language)
    }

    fn terms(&self) -> Terms {
        terms(self.language)
    }

    fn number(&self, number: usize) -> String {
        self.view().number(number as u64)
    }

    fn counted(&self, count: usize, german: [&str; 2], english: [&str; 2]) -> String {
        self.view().counted(count as u64, if self.is_german() { german } else { english })
    }

    /// How many turns, calls, failed calls and ratings a run has.
    pub(in crate::ui) fn counts(&self, turns: usize, calls: [usize; 2], ratings: usize) -> String {
        let [calls, failed] = calls;
        let turns = self.counted(turns, ["Runde", "Runden"], ["turn", "turns"]);
        let calls = self.counted(calls, ["Aufruf", "Aufrufe"], ["call", "calls"]);
        let ratings = self.counted(ratings, ["Note", "Noten"], ["rating", "ratings"]);
        let failed = match (failed, self.is_german()) {
            (0, _) => String::new(),
            (1, true) => ", davon 1 gescheitert".to_owned(),
            (failed, true) => format!(", davon {} gescheitert", self.number(failed)),
            (failed, false) => format!(", {} of them failed", self.number(failed)),
        };
        format!("{turns}; {calls}{failed}; {ratings}")
    }

    /// What a run cost, and what of it was for answers that were lost.
    pub(in crate::ui) fn spent(&self, spent: Usd, lost: Usd) -> String {
        let [spent, up_to] = [spent, lost].map(|amount| self.terms().usd(amount));
        match (lost, self.is_german()) {
            (Usd::ZERO, _) => spent,
            (_, true) => format!("{spent}, davon bis zu {up_to} für verlorene Antworten"),
            (_, false) => format!("{spent}, of it up to {up_to} for lost answers"),
        }
    }

    /// When a run began, and how long it took.
    pub(in crate::ui) fn ended_after(&self, begun: &str, took: Duration) -> String {
        let took = self.terms().took(took);
        match self.is_german() {
            true => format!("{begun}; zu Ende nach {took}"),
            false => format!("{begun}; ended after {took}"),
        }
    }

    pub(in crate::ui) fn attempt(&self, slot: &str, attempt: u32) -> String {
        let word = if self.is_german() { "Versuch" } else { "attempt" };
        format!("{slot}, {word} {attempt}")
    }

    /// The build of the product, and the one at the end of the run if it is another.
    pub(in crate::ui) fn builds(&self, first: &str, last: Option<&str>) -> String {
        match (last, self.is_german()) {
            (None, _) => first.to_owned(),
            (Some(last), true) => format!("{first}, am Ende {last}"),
            (Some(last), false) => format!("{first}, at the end {last}"),
        }
    }

    /// Posts that wait, and posts that were refused.
    pub(in crate::ui) fn posts(&self, waiting: usize, refused: usize) -> String {
        let [waiting, refused] = [waiting, refused].map(|count| self.number(count));
        match self.is_german() {
            true => format!("{waiting} unterwegs, {refused} endgültig abgelehnt"),
            false => format!("{waiting} on the way, {refused} refused for good"),
        }
    }

    pub(in crate::ui) fn turn(&self, number: usize, is_rating: bool) -> String {
        let word = match (is_rating, self.is_german()) {
            (false, true) => "Runde",
            (false, false) => "Turn",
            (true, true) => "Antwort auf die Frage nach Noten",
            (true, false) => "Answer to the question for ratings",
        };
        if is_rating && number == 1 { word.to_owned() } else { format!("{word} {number}") }
    }

    /// That a part of the page begins within a turn.
    pub(in crate::ui) fn continued(&self, turn: &str) -> String {
        let word = if self.is_german() { "Fortsetzung" } else { "continued" };
        format!("{turn} ({word})")
    }

    /// The tokens of the prompt, of these from the cache, and of the reply.
    pub(in crate::ui) fn tokens(&self, prompt: u64, cached: u64, output: u64) -> String {
        let [prompt, cached, output] =
            [prompt, cached, output].map(|tokens| self.view().number(tokens));
        match self.is_german() {
            true => {
                format!("{prompt} Token gelesen ({cached} aus dem Cache), {output} geschrieben")
            }
            false => format!("{prompt} tokens in ({cached} from the cache), {output} out"),
        }
    }

    /// Why a reply ended, by the API's name of the reason.
    pub(in crate::ui) fn stop_reason(&self, name: &'static str) -> &'static str {
        let [german, english] = match name {
            "end_turn" | "stop_sequence" => ["fertig", "finished"],
            "tool_use" => ["wartet auf Werkzeuge", "waits for tools"],
            "max_tokens" => ["abgeschnitten: zu lang", "cut off: too long"],
            "pause_turn" => ["macht gleich weiter", "goes on at once"],
            "refusal" => ["verweigert", "refused"],
            "model_context_window_exceeded" => ["Kontext ist voll", "the context is full"],
            _ => ["aus unbekanntem Grund beendet", "ended for an unknown reason"],
        };
        if self.is_german() { german } else { english }
    }

    /// That a request ended without an answer that may have been billed.
    pub(in crate::ui) fn billed(&self, up_to: Usd) -> String {
        let up_to = self.terms().usd(up_to);
        match self.is_german() {
            true => format!(
                "Es kam keine Antwort; berechnet wurde sie vielleicht trotzdem, mit bis zu {up_to}."
            ),
            false => {
                format!("No answer came; it may have been billed all the same, with up to {up_to}.")
            }
        }
    }

    pub(in crate::ui) fn died(&self, up_to: Usd) -> String {
        let up_to = self.terms().usd(up_to);
        match self.is_german() {
            true => format!(
                "Der Runner brach ab, während das Modell antwortete; berechnet wurden vielleicht bis zu {up_to}."
            ),
            false => format!(
                "The runner broke off while the model was answering; up to {up_to} may have been billed."
            ),
        }
    }

    pub(in crate::ui) fn asking(&self, since: &str, reserved: Usd) -> String {
        let reserved = self.terms().usd(reserved);
        match self.is_german() {
            true => format!(
                "Das Modell ist seit {since} gefragt und hat noch nicht geantwortet; {reserved} sind zurückgelegt."
            ),
            false => format!(
                "The model was asked at {since} and has not answered yet; {reserved} are reserved."
            ),
        }
    }

    pub(in crate::ui) fn without_tool(&self, tool: &str) -> String {
        match self.is_german() {
            true => format!(
                "Die Anfrage wurde wegen des Werkzeugs {tool} abgelehnt und ohne dieses noch einmal gesendet."
            ),
            false => format!(
                "The request was refused because of the tool {tool} and sent once more without it."
            ),
        }
    }

    pub(in crate::ui) fn day_ended(&self, at: &str, outcome: &str) -> String {
        match self.is_german() {
            true => format!("Der Tag endete um {at}: {outcome}"),
            false => format!("The day ended at {at}: {outcome}"),
        }
    }

    pub(in crate::ui) fn damaged(&self, step: u32) -> String {
        match self.is_german() {
            true => format!("Schritt {step} ist nicht lesbar; alles andere wird gezeigt."),
            false => format!("Step {step} cannot be read; all others are shown."),
        }
    }

    pub(in crate::ui) fn of_five(&self, rating: u8) -> String {
        if self.is_german() { format!("{rating} von 5") } else { format!("{rating} of 5") }
    }

    pub(in crate::ui) fn call(&self, number: u32) -> String {
        if self.is_german() { format!("Aufruf {number}") } else { format!("call {number}") }
    }

    /// That a rating names a call that the run does not have.
    pub(in crate::ui) fn no_such_call(&self, number: u32) -> String {
        match self.is_german() {
            true => format!("{number} (gibt es nicht)"),
            false => format!("{number} (there is none)"),
        }
    }

    pub(in crate::ui) fn and_more(&self, count: usize) -> String {
        let count = self.number(count);
        if self.is_german() { format!("und {count} weitere") } else { format!("and {count} more") }
    }

    /// How many of the shown text's characters there are.
    pub(in crate::ui) fn beginning(&self, chars: usize) -> String {
        let chars = self.number(chars);
        match self.is_german() {
            true => format!("Anfang von {chars} Zeichen."),
            false => format!("The beginning of {chars} characters."),
        }
    }

    /// That the model got less than the whole result, whose text has so many characters.
    pub(in crate::ui) fn cut(&self, chars: u64) -> String {
        let chars = self.view().number(chars);
        match self.is_german() {
            true => format!("Das Ergebnis hatte {chars} Zeichen; das Modell bekam nicht alles."),
            false => format!("The result had {chars} characters; the model did not get all."),
        }
    }

    pub(in crate::ui) fn attachment(&self, kind: &str, bytes: usize) -> String {
        let word = if self.is_german() { "Bytes" } else { "bytes" };
        format!("[{kind}, {} {word}]", self.number(bytes))
    }

    /// How many rows were refused, and of what kind.
    pub(in crate::ui) fn refused_rows(&self, rows: usize, kind: &str) -> String {
        let rows = self.counted(rows, ["Zeile", "Zeilen"], ["row", "rows"]);
        format!("{rows} ({kind})")
    }

    pub(in crate::ui) fn part(&self, part: usize, parts: usize) -> String {
        match self.is_german() {
            true => format!("Teil {part} von {parts}"),
            false => format!("Part {part} of {parts}"),
        }
    }

    /// That calls from this one on are in parts from this one on.
    pub(in crate::ui) fn calls_from(&self, call: u32, part: usize) -> String {
        match self.is_german() {
            true => format!("Aufrufe ab {call}: ab Teil {part}"),
            false => format!("Calls from {call} on: part {part} and later"),
        }
    }

    pub(in crate::ui) fn zone(&self, zone: &str) -> String {
        if self.is_german() { format!("Zeiten: {zone}.") } else { format!("Times: {zone}.") }
    }
}
