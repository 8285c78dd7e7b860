//! Short hints to the model in the middle of a day, when something calls for one.
//!
//! A reminder stays in the history where it was said. The runner this one replaces took it out again
//! after one request; models that bind their thinking to all that precedes it refuse such a history
//! (docs/contracts/anthropic-messages.md, 5.3 and 5.4).

use crate::domain::Usd;

/// Calls after which a day is long enough.
const LONG_DAY: usize = 8;
/// Turn from which on repeated failures are pointed out.
const FAILURES_FROM_TURN: u32 = 3;
/// Share of the cost limit at which the model is told to finish.
const COST_WARNING: f64 = 0.75;

/// How the day stands after a turn's calls.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// Replies so far.
    pub turn: u32,
    /// Replies there may be.
    pub max_turns: u32,
    /// Calls before this turn.
    pub calls_before: usize,
    /// Calls so far.
    pub calls: usize,
    /// The last so many calls failed.
    pub failed_in_a_row: usize,
    /// Cost before this turn.
    pub cost_before: Usd,
    /// Cost so far.
    pub cost: Usd,
    /// What the run may cost.
    pub max_cost: Usd,
    /// What the policy gate wants said, in order.
    pub gate: &'a [String],
}

/// What the model is reminded of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reminder {
    /// What gave cause for each hint, as metric labels.
    pub producers: Vec<&'static str>,
    /// What is said; `None` if there are none.
    pub text: Option<String>,
}

/// The reminder for the next request; none in an ordinary run.
pub fn remind(now: &Snapshot<'_>) -> Reminder {
    let is_long = now.calls > LONG_DAY && now.calls_before <= LONG_DAY;
    let is_failing = now.turn >= FAILURES_FROM_TURN && now.failed_in_a_row >= 2;
    let warning = now.max_cost.fraction(COST_WARNING);
    let is_dear = now.cost >= warning && now.cost_before < warning;
    let turns_left = now.max_turns.checked_sub(now.turn);
    let told = [
        ("turns", turns_left == Some(3), "Du hast noch drei Antworten für heute."),
        (
            "turns",
            turns_left == Some(1),
            "Das ist deine letzte Antwort für heute. Schließ den Tag mit 1–2 Sätzen ab.",
        ),
        ("long_day", is_long, "Du hast heute schon viel gemacht. Runde den Tag ab."),
        (
            "failures",
            is_failing,
            "Die letzten beiden Aufrufe sind fehlgeschlagen. Wiederhole sie nicht, sondern sag, was \
             dich verwirrt.",
        ),
        ("cost", is_dear, "Das Budget für heute ist fast verbraucht. Komm zum Schluss."),
    ];
    let told =
        told.iter().filter(|(_, is_so, _)| *is_so).map(|(producer, _, text)| (*producer, *text));
    let gate = now.gate.iter().map(|text| ("policy", text.as_str()));
    let (mut producers, mut lines) = (Vec::new(), Vec::new());
    for (producer, text) in told.chain(gate) {
        let line = format!("<reminder>{text}</reminder>");
        // Two calls can give cause for the same hint; it is said once.
        if !lines.contains(&line) {
            producers.push(producer);
            lines.push(line);
        }
    }
    Reminder { producers, text: (!lines.is_empty()).then(|| lines.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENT: Usd = Usd::ZERO;

    fn ordinary() -> Snapshot<'static> {
        Snapshot {
            turn: 2,
            max_turns: 15,
            calls_before: 1,
            calls: 2,
            failed_in_a_row: 0,
            cost_before: CENT,
            cost: CENT,
            max_cost: Usd::MAX,
            gate: &[],
        }
    }

    fn producers(snapshot: &Snapshot<'_>) -> Vec<&'static str> {
        remind(snapshot).producers
    }

    #[test]
    fn an_ordinary_run_needs_none() {
        assert_eq!(remind(&ordinary()), Reminder::default());
    }

    #[test]
    fn three_turns_before_the_end_and_at_the_last_one() {
        let at = |turn| producers(&Snapshot { turn, ..ordinary() });
        assert_eq!(at(11), [""; 0]);
        assert_eq!(at(12), ["turns"]);
        assert_eq!(at(13), [""; 0]);
        assert_eq!(at(14), ["turns"]);
        assert_eq!(at(15), [""; 0]);
    }

    #[test]
    fn a_long_day_is_pointed_out_once() {
        let at = |calls_before, calls| producers(&Snapshot { calls_before, calls, ..ordinary() });
        assert_eq!(at(7, 8), [""; 0]);
        assert_eq!(at(7, 9), ["long_day"]);
        assert_eq!(at(9, 12), [""; 0]);
    }

    #[test]
    fn two_failures_in_a_row_from_the_third_turn_on() {
        let at =
            |turn, failed_in_a_row| producers(&Snapshot { turn, failed_in_a_row, ..ordinary() });
        assert_eq!(at(2, 2), [""; 0]);
        assert_eq!(at(3, 1), [""; 0]);
        assert_eq!(at(3, 2), ["failures"]);
        assert_eq!(at(3, 5), ["failures"]);
    }

    #[test]
    fn three_quarters_of_the_cost_are_pointed_out_once() {
        let usd = |dollars| Usd::from_dollars(dollars).unwrap();
        let at = |before, now| {
            let (cost_before, cost, max_cost) = (usd(before), usd(now), usd(0.2));
            producers(&Snapshot { cost_before, cost, max_cost, ..ordinary() })
        };
        assert_eq!(at(0.1, 0.149), [""; 0]);
        assert_eq!(at(0.1, 0.15), ["cost"]);
        assert_eq!(at(0.16, 0.18), [""; 0]);
    }

    #[test]
    fn the_gates_hints_are_said_once_each_and_wrapped() {
        let gate = ["Lass das.".to_owned(), "Lass das.".to_owned()];
        let reminder = remind(&Snapshot { gate: &gate, turn: 14, ..ordinary() });
        assert_eq!(
            reminder.text.unwrap(),
            "<reminder>Das ist deine letzte Antwort für heute. Schließ den Tag mit 1–2 Sätzen ab.\
             </reminder>\n<reminder>Lass das.</reminder>"
        );
    }
}
