use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    domain::Language,
    facts::{
        coverage::{Coverage, DayCounts},
        report::{ModuleReport, report},
    },
    report::{
        Document, Form,
        sample::{HOSTILE, WEEK, hostile, week, world},
        view::view,
    },
};

const LINES: usize = 150;

/// Each line of a table has as many cells as its head.
fn assert_tables_are_whole(text: &str) {
    let mut cells = None;
    for line in text.lines() {
        // No escaped bar is written as a bar.
        let bars = line.matches('|').count();
        match cells {
            Some(head) if bars > 0 => assert_eq!(bars, head, "{line}"),
            _ => cells = (bars > 0).then_some(bars),
        }
        if bars == 0 {
            cells = None;
        }
    }
}

#[test]
fn a_week_in_german() {
    insta::assert_snapshot!(
        Document::new(&world().days(WEEK), Language::German).text(Form::Markdown)
    );
}

#[test]
fn a_week_in_english() {
    insta::assert_snapshot!(
        Document::new(&world().days(WEEK), Language::English).text(Form::Markdown)
    );
}

#[test]
fn the_first_line_is_the_sentence() {
    let document = Document::new(&world().days(WEEK), Language::German);
    let text = document.text(Form::Markdown);
    assert_eq!(text.lines().next().unwrap(), format!("# {}", document.sentence()));
}

#[test]
fn a_hostile_report_is_short_and_starts_nothing() {
    for language in [Language::German, Language::English] {
        let text = render(&view(&hostile(), language));
        assert!(text.lines().count() <= LINES, "{} lines", text.lines().count());
        assert!(text.len() < 100_000, "{}", text.len());
        assert!(!text.contains(['<', '>']), "{text}");
        assert!(
            !text.contains("@team") && !text.contains("://") && !text.contains("www."),
            "{text}"
        );
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert_tables_are_whole(&text);
        let headings = text.lines().filter(|line| line.starts_with('#')).count();
        assert_eq!(headings, 10, "{text}");
    }
}

#[test]
fn modules_beyond_the_last_row_are_named() {
    let mut report = week();
    let module =
        |n: usize| ModuleReport { module: format!("m{n:02}"), ..report.modules[0].clone() };
    report.modules = (0..23).map(module).collect();
    let text = render(&view(&report, Language::English));
    assert!(text.contains("\n… +3: `m20`, `m21`, `m22`\n"), "{text}");
}

#[test]
fn of_many_days_the_newest_are_shown() {
    let mut report = week();
    let day = |n: i8| DayCounts {
        day: jiff::civil::date(2026, 1, n),
        counts: [(DayStatus::Ran.as_str(), 1_200)].into(),
    };
    report.coverage = Coverage::Counts((1..=28).map(day).collect());
    let text = render(&view(&report, Language::German));
    assert!(text.contains("\n| Mo 19.1. | ● 1.200 |\n"), "{text}");
    assert!(text.contains("| Mi 28.1. |") && !text.contains("| So 18.1. |"), "{text}");
    assert!(text.contains("\n… +18\n"), "{text}");
}

#[test]
fn the_same_report_has_the_same_bytes() {
    let text = || render(&view(&report(&world().days(WEEK)), Language::English));
    assert_eq!(text(), text());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_of_a_peer_changes_the_structure(text in r"[a|`<>@&\\*_~#:./w\n\r \x00\u{202e}ä=+-]{0,80}", at in 0usize..6) {
        let mut report = week();
        let plain = render(&view(&report, Language::German));
        let text = format!("{text}{}", if at % 2 == 0 { HOSTILE } else { "" });
        let friction = Arc::make_mut(&mut report.frictions[0]);
        friction.template = Some(format!("x{text}"));
        friction.tool = Some(text.clone());
        friction.id.clone_from(&text);
        if let Some(quote) = &mut friction.quote {
            quote.text.clone_from(&text);
        }
        for module in &mut report.modules {
            module.module.clone_from(&text);
        }
        for it in &mut report.missing {
            it.name.clone_from(&text);
        }
        let hostile = render(&view(&report, Language::German));
        prop_assert_eq!(hostile.lines().count(), plain.lines().count(), "{}", hostile);
        let kinds = |text: &str| -> Vec<_> {
            text.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).filter(|it| ["#", "##", "-", "|"].contains(&it.as_str())).collect()
        };
        prop_assert_eq!(kinds(&hostile), kinds(&plain));
        assert_tables_are_whole(&hostile);
    }
}
