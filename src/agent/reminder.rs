//! Short hints to the model during a day, for example shortly before a limit is reached.
//!
//! A reminder stays in the history. The Bun runner, which this daemon replaces, removed a reminder after one
//! request. Models that bind their thinking to everything before it refuse such a history
//! (docs/contracts/anthropic-messages.md, 5.3 and 5.4).

use indexmap::IndexMap;

use super::day::Day;
use crate::domain::Usd;

/// With more calls than this, the model is told to finish the day.
const LONG_DAY: usize = 8;
/// The first turn in which repeated failures cause a reminder.
const FAILURES_FROM_TURN: u32 = 3;
/// Fraction of the cost limit at which the model is told to finish.
const COST_WARNING: f64 = 0.75;

const LAST_TURN: &str =
    "Das ist deine letzte Antwort für heute. Schließ den Tag mit 1–2 Sätzen ab.";
const FAILURES: &str = "Die letzten beiden Aufrufe sind fehlgeschlagen. Wiederhole sie nicht, \
                        sondern sag, was dich verwirrt.";

/// The cause of each hint, as metric labels, and the text for the model, which is `None` if there are no
/// hints.
type Reminder = (Vec<&'static str>, Option<String>);

/// The reminder for the day's next request. `calls_before` is the number of calls before the last turn, and
/// `hints` are the texts of the policy gate. An ordinary run has no reminders.
pub(super) fn remind(day: &Day, calls_before: usize, hints: &[String]) -> Reminder {
    let limits = day.conversation.limits;
    let is_long = day.calls.len() > LONG_DAY && calls_before <= LONG_DAY;
    let mut last_two = day.calls.iter().rev().take(2);
    let is_failing = day.replies() >= FAILURES_FROM_TURN
        && day.calls.len() >= 2
        && last_two.all(|call| call.error.is_some());
    let warning = Usd::from_dollars(COST_WARNING * limits.max_cost.dollars()).unwrap_or_default();
    let is_dear = day.conversation.spent() >= warning && day.spent_before < warning;
    let turns_left = limits.max_replies.checked_sub(day.replies());
    let own = [
        ("turns", turns_left == Some(3), "Du hast noch drei Antworten für heute."),
        ("turns", turns_left == Some(1), LAST_TURN),
        ("long_day", is_long, "Du hast heute schon viel gemacht. Runde den Tag ab."),
        ("failures", is_failing, FAILURES),
        ("cost", is_dear, "Das Budget für heute ist fast verbraucht. Komm zum Schluss."),
    ];
    let own = own.into_iter().filter_map(|(cause, is_due, text)| is_due.then_some((cause, text)));
    let gate = hints.iter().map(|text| ("policy", text.as_str()));
    let line = |(producer, text)| (format!("<reminder>{text}</reminder>"), producer);
    // Two calls can cause the same hint. It is sent once.
    let lines: IndexMap<String, &str> = own.chain(gate).map(line).collect();
    let (lines, producers): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
    (producers, (!lines.is_empty()).then(|| lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::{
            call::{Called, CalledTool},
            conversation::Limits,
        },
        clients::claude::ToolUse,
    };

    /// A day of at most 15 turns with `turn` replies and `calls` calls, the last `failed` of which failed.
    fn day(turn: u32, calls: usize, failed: usize) -> Day {
        let mut day = Day::new("Los", Limits { max_replies: 15, max_cost: Usd::MAX });
        day.conversation.replies = turn;
        let call = ToolUse {
            id: String::new(),
            name: String::new(),
            input: Default::default(),
            odd: None,
        };
        for n in 0..calls {
            let mut called = Called::after(n, &call, CalledTool::Invented("x".into()));
            if n + failed >= calls {
                called.fail(crate::domain::Cause::Handler, "no".into());
            }
            day.calls.push(called.record);
        }
        day
    }

    #[test]
    fn an_ordinary_run_needs_none() {
        assert_eq!(remind(&day(2, 2, 0), 1, &[]), (Vec::new(), None));
    }

    #[test]
    fn three_turns_before_the_end_and_at_the_last_one() {
        let at = |turn| remind(&day(turn, 2, 0), 1, &[]).0;
        assert_eq!(at(11), [""; 0]);
        assert_eq!(at(12), ["turns"]);
        assert_eq!(at(13), [""; 0]);
        assert_eq!(at(14), ["turns"]);
        assert_eq!(at(15), [""; 0]);
    }

    #[test]
    fn a_long_day_is_pointed_out_once() {
        let at = |calls_before, calls| remind(&day(2, calls, 0), calls_before, &[]).0;
        assert_eq!(at(7, 8), [""; 0]);
        assert_eq!(at(7, 9), ["long_day"]);
        assert_eq!(at(9, 12), [""; 0]);
    }

    #[test]
    fn two_failures_in_a_row_from_the_third_turn_on() {
        let at = |turn, failed: usize| remind(&day(turn, failed.max(1), failed), 0, &[]).0;
        assert_eq!(at(2, 2), [""; 0]);
        assert_eq!(at(3, 1), [""; 0]);
        assert_eq!(at(3, 2), ["failures"]);
        assert_eq!(at(3, 5), ["failures"]);
        assert_eq!(remind(&day(3, 3, 1), 0, &[]).0, [""; 0]);
    }

    #[test]
    fn three_quarters_of_the_cost_are_pointed_out_once() {
        let usd = |dollars| Usd::from_dollars(dollars).unwrap();
        let at = |before, now| {
            let mut day = day(2, 2, 0);
            day.conversation.limits.max_cost = usd(0.2);
            (day.spent_before, day.conversation.spent) = (usd(before), usd(now));
            remind(&day, 1, &[]).0
        };
        assert_eq!(at(0.1, 0.149), [""; 0]);
        assert_eq!(at(0.1, 0.15), ["cost"]);
        assert_eq!(at(0.16, 0.18), [""; 0]);
    }

    #[test]
    fn the_gates_hints_are_said_once_each_and_wrapped() {
        let gate = ["Lass das.".to_owned(), "Lass das.".to_owned()];
        let (_, text) = remind(&day(14, 2, 0), 1, &gate);
        assert_eq!(
            text.unwrap(),
            "<reminder>Das ist deine letzte Antwort für heute. Schließ den Tag mit 1–2 Sätzen ab.\
             </reminder>\n<reminder>Lass das.</reminder>"
        );
    }
}
