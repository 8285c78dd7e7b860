//! The user messages of the main turn and the rating turn, in German.

use std::fmt::Write;

use jiff::civil::Date;

use super::call::CallRecord;
use crate::domain::{ModuleMix, ModuleName, clip, one_line};

/// Longest recap, in bytes. The main turn reserves the money for the rating turn, so the recap needs a limit.
const RECAP: usize = 24 << 10;
/// Longest closing words in the recap, in characters.
const CLOSING_WORDS: usize = 1_000;
/// By how many bytes one more turn may lengthen the rating prompt, module names included.
pub(super) const GROWTH: u64 = 32 << 10;
/// Longest tool name in the recap, in characters. The model may have invented a long name.
const TOOL_NAME: usize = 200;
/// Longest excerpt of a result in the recap, in characters.
const RECAP_EXCERPT: usize = 120;

/// The first message of the main turn, which asks for a short day in the app. It contains the facts of the
/// run. The system prompt contains none of them: it describes the persona and never changes.
pub fn day(today: Date, likes: &ModuleMix) -> String {
    let liked = join(likes.modules());
    let modules = if liked.is_empty() {
        "Nimm dir die Module vor, auf die du Lust hast.".to_owned()
    } else {
        format!("Am liebsten benutzt du diese Module, das liebste zuerst: {liked}.")
    };
    format!(
        "Heute ist der {today}. Verbringe einen kurzen Tag in deiner Mana-App: Schau nach, was \
         ansteht, trag ein, was dir gerade durch den Kopf geht, und erledige, was zu dir passt. \
         {modules} Benutze dafür 3 bis 8 Tools, so wie du es im Alltag tun würdest. Wenn du fertig \
         bist, schließ den Tag mit 1–2 Sätzen ab."
    )
}

/// The first message of the rating turn. It lists the calls of the run, so that the persona rates them and
/// does not invent others.
pub fn rate(calls: &[CallRecord], closing_words: &str, used: &[ModuleName]) -> String {
    let mut text = String::from("Dein Tag in der Mana-App ist vorbei. Das ist passiert:\n");
    let mut calls = calls.iter();
    while text.len() < RECAP
        && let Some(call) = calls.next()
    {
        let outcome = if call.error.is_some() { "Fehler" } else { "ok" };
        let name = clip(&one_line(call.tool_name()), TOOL_NAME);
        let excerpt = clip(&one_line(&call.excerpt), RECAP_EXCERPT);
        let colon = if excerpt.is_empty() { "" } else { ": " };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}. {name} – {outcome}{colon}{excerpt}", call.number);
    }
    if calls.len() > 0 {
        let _ = writeln!(text, "(und {} weitere Aufrufe)", calls.len());
    }
    if !closing_words.is_empty() {
        let words = clip(&one_line(closing_words), CLOSING_WORDS);
        let _ = writeln!(text, "Am Ende hast du gesagt: „{words}“");
    }
    let _ = write!(
        text,
        "\nBitte bewerte ehrlich und aus deiner Sicht jedes dieser Module: {}. Die Skala geht von 1 \
         (frustrierend) bis 5 (hilft mir wirklich). Stütz dich nur auf das, was oben steht. Schreib \
         zu jedem Modul zuerst in „notes“ deine Begründung in 1–2 Sätzen, dann in „calls“ die \
         Nummern der Aufrufe, auf die sie sich stützt, und zuletzt in „rating“ die Zahl. Antworte \
         nur mit JSON in dieser Form, mit den Modulnamen genau wie oben: \
         {{\"ratings\":[{{\"module\":\"…\",\"notes\":\"…\",\"calls\":[1],\"rating\":3}}]}}",
        join(used)
    );
    text
}

/// The second message of the rating turn, after an answer that was unreadable or left out modules.
pub fn repair(missing: &[ModuleName]) -> String {
    format!(
        "In deiner Antwort fehlt noch eine lesbare Bewertung für: {}. Bitte bewerte diese Module \
         jetzt und antworte nur mit JSON: \
         {{\"ratings\":[{{\"module\":\"…\",\"notes\":\"…\",\"calls\":[1],\"rating\":3}}]}}",
        join(missing)
    )
}

fn join<'m>(modules: impl IntoIterator<Item = &'m ModuleName>) -> String {
    modules.into_iter().map(ModuleName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::civil::date;
    use tokio::time::Instant;

    use super::*;
    use crate::{agent::call::CalledTool, domain::ToolName};

    #[test]
    fn the_day_names_date_and_modules() {
        let mix = ModuleMix::new(
            [("newsResearch", 0.2), ("articles", 0.8)].map(|(m, w)| (ModuleName::new(m), w)),
        );
        insta::assert_snapshot!(day(date(2026, 3, 9), &mix));
        assert!(day(date(2026, 3, 9), &ModuleMix::default()).contains("2026-03-09"));
    }

    #[test]
    fn the_rating_prompt_recaps_what_happened() {
        let call = |number, tool: &str, error: Option<&str>, excerpt: &str| CallRecord {
            number,
            tool: CalledTool::Listed(ToolName::new(tool)),
            input_hash: None,
            error: error.map(str::to_owned),
            outcome_unknown: false,
            not_run: false,
            excerpt: excerpt.to_owned(),
            latency: Duration::ZERO,
            detail: Default::default(),
            started: Instant::now(),
            reached: true,
            policy: Vec::new(),
        };
        let calls = [
            call(1, "todo.create", None, "{\n  \"id\": \"t1\"\n}"),
            call(2, "notes.search", Some("weg"), "weg"),
            call(3, "todo.list", None, ""),
        ];
        let used = [ModuleName::new("todo"), ModuleName::new("notes")];
        insta::assert_snapshot!(rate(&calls, "War ok.\nBis morgen!", &used));
        insta::assert_snapshot!(repair(&used[1..]));
    }

    #[test]
    fn a_very_long_run_is_recapped_in_part() {
        let calls: Vec<_> = (1..=530)
            .map(|number| CallRecord {
                number,
                tool: CalledTool::Invented("x".into()),
                input_hash: None,
                error: None,
                outcome_unknown: false,
                not_run: false,
                excerpt: "y".repeat(5_000),
                latency: Duration::ZERO,
                detail: Default::default(),
                started: Instant::now(),
                reached: true,
                policy: Vec::new(),
            })
            .collect();
        let text = rate(&calls, "", &[ModuleName::new("todo")]);
        let listed = text.lines().filter(|line| line.contains(". x – ok")).count();
        assert!((150..530).contains(&listed), "{listed}");
        assert!(text.contains(&format!("(und {} weitere Aufrufe)", 530 - listed)));
        assert!(text.len() < 28 << 10);
    }
}
