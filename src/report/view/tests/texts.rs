//! All texts: numbers, and what no text may have.

use proptest::prelude::*;

use super::*;
use crate::{
    facts::{
        report::report,
        world::{World, failed, ok},
    },
    report::sample::{HOSTILE, WEEK, hostile},
};

#[test]
fn numbers_are_written_as_the_language_writes_them() {
    let [german, english] = BOTH.map(languages::words);
    assert_eq!([german, english].map(|it| it.number(1_234_567)), ["1.234.567", "1,234,567"]);
    assert_eq!([german, english].map(|it| it.decimal(1_234.5, 2)), ["1.234,50", "1,234.50"]);
    assert_eq!(
        [-0.4, -0.04, 0.0, 0.4].map(|it| german.signed(it)),
        ["−0,4", "±0,0", "±0,0", "+0,4"]
    );
    assert_eq!(
        [0.0, 0.004, 0.44, 0.996, 1.0].map(words::percent),
        ["0 %", "<1 %", "44 %", ">99 %", "100 %"]
    );
}

#[test]
fn every_text_of_a_hostile_report_is_one_short_printable_line() {
    for language in BOTH {
        let view = view(&hostile(), language);
        let printed = printed(&view);
        assert!(printed.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{printed}");
        // Debug output writes a line break as two characters.
        assert!(!printed.contains("\\n") && !printed.contains("\\0"), "{printed}");
        let longest = printed.split('"').map(|text| text.chars().count()).max().unwrap();
        assert!(longest < 2_000, "{longest}");
        assert!(printed.len() < 400_000, "{}", printed.len());
    }
}

#[test]
fn no_sentence_of_a_world_is_empty_in_any_language() {
    let mut world = World::default();
    for persona in ["a", "b"] {
        world.run(persona, 5, [ok("todo.list"), failed("todo.list", HOSTILE)]);
    }
    for language in BOTH {
        let view = view(&report(&world.days(WEEK)), language);
        let sections = [&view.reliability, &view.cost];
        let lines = sections.into_iter().flat_map(|section| &section.items);
        let lines: Vec<_> = lines.chain(&view.summary).chain([&view.footer, &view.title]).collect();
        assert!(lines.len() > 5, "{lines:?}");
        for line in lines {
            // A part that is missing leaves a gap, empty brackets or a mark with nothing before it.
            let gaps = ["  ", "()", "[]", "( ", " )", " ,", ", .", " .", ": ."];
            assert!(gaps.iter().all(|gap| !line.contains(gap)), "{line}");
            assert!(line.starts_with(char::is_alphanumeric), "{line}");
            assert!(line == &view.title || line.ends_with('.'), "{line}");
        }
    }
}

proptest! {
    #[test]
    fn a_percentage_is_none_or_all_only_if_the_share_is(share in 0.0f64..=1.0) {
        let text = words::percent(share);
        prop_assert_eq!(text == "0 %", share == 0.0);
        prop_assert_eq!(text == "100 %", share == 1.0);
    }

    #[test]
    fn a_number_keeps_its_digits(number in any::<u64>()) {
        for language in BOTH {
            let text = languages::words(language).number(number);
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            prop_assert_eq!(digits, number.to_string());
        }
    }
}
