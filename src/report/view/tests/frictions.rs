//! What hurts, and what changed.

use std::sync::Arc;

use super::*;
use crate::report::sample::{hostile, week};

#[test]
fn a_friction_is_told_with_its_evidence() {
    let view = german(&week());
    let hurt = &view.hurts.items[0];
    assert_eq!(hurt.counts, "3 von 6 Personas, 15 von 42 Läufen [13–67 %]");
    assert_eq!(hurt.impact, "hält am Tag im Mittel 1,9 von 6 Personas auf");
    assert_eq!(hurt.next, "");
    let mut report = week();
    Arc::make_mut(&mut report.frictions[0]).next =
        [("ended", 11), ("again-failed", 15), ("other-ok", 0)].into();
    let next = &german(&report).hurts.items[0].next;
    assert_eq!(next, "Danach: 15 × noch einmal, scheiterte · 11 × aufgehört");
    let quote = hurt.quote.as_ref().unwrap();
    assert_eq!(quote.text, "c on day 11: done is not done.");
    assert_eq!(quote.source, "c, So 11.1., 03:00, run-00063 · Aufruf 2");
    assert_eq!(
        hurt.seen,
        "zuerst Mi 7.1., 01:00 mit 1.5.0 (D-2); zuletzt So 11.1., 03:00 mit 1.5.0 (D-2)"
    );
    assert_eq!((hurt.state_word.as_str(), hurt.bar), ("neu", 1.0));
    assert_eq!(hurt.trend_label, "15 Läufe damit an 5 Tagen der letzten 28 Tage");
}

#[test]
fn a_small_impact_is_not_told_as_none() {
    let impact = |impact| {
        let mut report = week();
        Arc::make_mut(&mut report.frictions[0]).impact = impact;
        german(&report).hurts.items[0].impact.clone()
    };
    assert!(impact(0.0049).contains("im Mittel <0,01 von"), "{}", impact(0.0049));
    assert!(impact(0.005).contains("im Mittel 0,01 von"), "{}", impact(0.005));
    assert!(impact(0.5).contains("im Mittel 0,5 von"), "{}", impact(0.5));
}

#[test]
fn words_that_are_written_from_right_to_left_do_not_turn_the_words_around_them() {
    let mut report = week();
    Arc::make_mut(&mut report.frictions[0]).tool = Some("שלום".to_owned());
    let view = german(&report);
    for line in [&view.sentence, &view.hurts.items[0].title] {
        assert!(line.starts_with("\u{2068}שלום\u{2069} scheitert"), "{line}");
    }
}

#[test]
fn at_most_five_frictions_are_shown_and_the_others_are_named() {
    let view = german(&hostile());
    assert_eq!(view.hurts.items.len(), 5);
    assert!(view.hurts.items.iter().all(|hurt| hurt.state != State::Resolved));
    let rest = view.hurts.rest.unwrap();
    assert!(rest.starts_with("und 245 weitere: 7") && rest.ends_with(", …"), "{rest}");
}

#[test]
fn the_changes_tell_what_came_back_what_is_resolved_and_what_is_new() {
    let view = german(&week());
    let changes: Vec<_> =
        view.changes.items.iter().map(|it| (it.kind.as_str(), it.text.as_str())).collect();
    assert_eq!(
        changes,
        [
            ("behoben", "F-CCCC notes.search scheitert: cannot F-CCCC"),
            ("neu", "F-BBBB todo.complete scheitert: cannot F-BBBB"),
        ]
    );
    let mut report = week();
    Arc::make_mut(&mut report.frictions[0]).state = State::Regressed;
    let regressed = &german(&report).changes.items[0];
    assert_eq!((regressed.kind.as_str(), regressed.state), ("wieder da", Some(State::Regressed)));
    let mut report = week();
    report.frictions.clear();
    report.changes.tools.added = vec!["a.b".into(), "a.c".into()];
    report.changes.tools.removed = vec!["d.e".into()];
    let view = german(&report);
    let texts: Vec<_> = view.changes.items.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(texts, ["2 Werkzeuge dazu: a.b, a.c", "1 Werkzeug weg: d.e"]);
}

#[test]
fn a_friction_without_an_issue_is_told_for_the_days_of_the_window_only() {
    let mut report = week();
    Arc::make_mut(&mut report.frictions[0]).cause = None;
    let hurt = |report: &Report| german(report).hurts.items[0].clone();
    assert!(hurt(&report).seen.starts_with("in diesen Tagen zuerst Mi 7.1., 01:00"));
    assert_eq!(hurt(&report).trend_label, "15 Läufe damit an 5 Tagen dieses Zeitraums");
    report.window.from = Some("2025-12-15".parse().unwrap());
    assert_eq!(hurt(&report).trend_label, "15 Läufe damit an 5 Tagen der letzten 28 Tage");
}

#[test]
fn section_3_names_what_the_json_names_also_of_frictions_without_an_issue() {
    let mut report = week();
    report.resolved_without_hit.clear();
    for friction in &mut report.frictions {
        Arc::make_mut(friction).cause = None;
    }
    let told: Vec<_> = german(&report).changes.items.into_iter().map(|it| it.text).collect();
    let changes = &report.changes;
    let ids: Vec<_> =
        changes.regressed.iter().chain(&changes.resolved).chain(&changes.new).collect();
    assert_eq!((ids.len(), told.len()), (2, 2));
    assert!(told.iter().zip(ids).all(|(text, id)| text.starts_with(id.as_str())), "{told:?}");
}
