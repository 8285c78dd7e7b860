use axum::http::{HeaderMap, Uri};
use jiff::{Timestamp, tz::TimeZone};

use super::*;
use crate::{
    domain::{Label, Language},
    facts::compare::{Confounder, Effect, Example, Fact, Finding, Pair, Value, Verdict},
};

const HOSTILE: &str = "</td><script>alert(1)</script>\" onload=\"x\u{202e}";

fn asked(query: &str, language: Language) -> Asked {
    let uri: Uri = format!("/ui/compare{query}").parse().unwrap();
    Asked::of(&uri, Vec::new(), &HeaderMap::new(), language).0
}

fn finding(fact: Fact, verdict: Verdict, text: &str) -> Finding {
    Finding {
        fact,
        id: text.into(),
        tool: Some(text.into()),
        module: Some(text.into()),
        verdict,
        a: Value { value: Some(0.0), n: 168 },
        b: Value { value: Some(0.5), n: 42 },
        effect: Some(Effect { value: 0.5, low: Some(0.25), high: Some(0.75) }),
        p: Some(1e-6),
        p_adjusted: Some(1e-6),
        personas: vec![text.into(), "ben".into(), "cleo".into(), "dora".into()],
        before: Some(Example { run: text.into() }),
        after: Some(Example { run: "r-2".into() }),
        shown_by: Some(text.into()),
        is_new: true,
    }
}

fn comparison(verdict: Overall, findings: Vec<Finding>, text: &str) -> Comparison {
    let build =
        |id: &str| Build { id: id.into(), version: text.into(), from: Timestamp::UNIX_EPOCH };
    let side = |id| SideSummary {
        deployments: vec![build(id)],
        from: None,
        to: None,
        runs: 42,
        personas: 6,
        locked_out: 0,
    };
    Comparison {
        schema: "compare/v1",
        a: side("D-1"),
        b: side("D-2"),
        verdict,
        confounded: vec![Confounder { what: "model", since: Timestamp::UNIX_EPOCH }],
        lambda: Pair { share: Some(1.3), rating: None },
        findings,
        detectable: Pair { share: Some(0.25), rating: None },
        knows_deployments: true,
    }
}

fn page(comparison: &Comparison, language: Language) -> String {
    let asked = asked("", language);
    let times = Times::new(TimeZone::UTC, language);
    let main = html! {
        (form(&asked, &comparison.b.deployments))
        (sides(&asked, &times, comparison))
        (confounders(&asked, &times, comparison))
        (findings::section(&asked, comparison, Listed::Changed, 1))
        (limits(&asked, comparison))
    };
    main.into_string()
}

#[test]
fn texts_of_peers_stay_texts_in_every_field() {
    let facts = Fact::ALL.iter().map(|fact| finding(*fact, Verdict::Worse, HOSTILE));
    let comparison = comparison(Overall::Worse, facts.collect(), HOSTILE);
    let page = page(&comparison, Language::German);
    assert!(!page.contains("<script") && !page.contains("\" onload") && !page.contains('\u{202e}'));
    assert!(page.contains("&lt;script&gt;"));
    assert!(!page.contains(" style=\""));
}

#[test]
fn a_share_is_told_in_points_and_a_rating_in_ratings() {
    let facts = vec![
        finding(Fact::Tool, Verdict::Worse, "todo.list"),
        finding(Fact::Rating, Verdict::Better, "todo"),
        finding(Fact::Tool, Verdict::Unchanged, "notes.list"),
    ];
    let comparison = comparison(Overall::Worse, facts, "2.0");
    let page = page(&comparison, Language::English);
    for part in [
        "0\u{a0}% of 168 runs",
        "50\u{a0}% of 42 runs",
        "+50 points [+25; +75]",
        "+0.5 [+0.2; +0.8]",
        "&lt;0.0001",
        "and 1 more",
        "href=\"/ui/runs/r-2\"",
        "1 unchanged",
        "model since Thu 1 Jan 1970",
        "25 points of the runs of an ordinary tool, none of an ordinary rating",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("notes.list"), "what has not changed is not listed");
}

#[test]
fn the_sentence_says_what_the_comparison_comes_to() {
    let words = [Language::German, Language::English].map(words::compare::words);
    let sentences =
        |comparison: &Comparison| words.map(|words| words.sentence(comparison, Some("2.0 (D-2)")));
    let worse = comparison(Overall::Worse, vec![finding(Fact::Tool, Verdict::Worse, "t")], "2.0");
    assert_eq!(
        sentences(&worse),
        ["Schlechter seit 2.0 (D-2): 1 von 1 Vergleichen.", "Worse since 2.0 (D-2): 1 of 1 facts."]
    );
    let mut empty = comparison(Overall::NotComparable, Vec::new(), "2.0");
    empty.b.runs = 0;
    assert_eq!(
        sentences(&empty),
        ["Nicht vergleichbar: Seite B hat keinen Lauf.", "Not comparable: side B has no run."]
    );
    let mut out = comparison(Overall::NothingTestable, Vec::new(), "2.0");
    out.b.locked_out = 40;
    let [german, english] = sentences(&out);
    assert!(german.starts_with("Nichts prüfbar seit 2.0 (D-2): 40 von 42 Läufen"), "{german}");
    assert!(english.contains("40 of 42 runs of side B"), "{english}");
}

#[test]
fn only_known_verdicts_are_listed() {
    assert_eq!(Listed::of(&asked("", Language::German)).unwrap(), Listed::Changed);
    let unchanged = asked("?verdict=unchanged", Language::German);
    assert_eq!(Listed::of(&unchanged).unwrap(), Listed::With(Verdict::Unchanged));
    let wrong = asked("?verdict=x", Language::German);
    assert!(matches!(Listed::of(&wrong), Err(Trouble::Parameter("verdict"))));
}
