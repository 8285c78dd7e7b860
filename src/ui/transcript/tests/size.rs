//! A page of a run is never larger than its limit, and loses nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    given::{Given, failed, hostile, ok, opening, rated, turn},
    *,
};

/// As many characters as the text of a result may have.
const LONGEST: usize = 30_000;

/// All parts of a run's page, each within its limit.
fn parts(kept: &Kept) -> Vec<Document> {
    let address = format!("/ui/runs/{}", kept.run.id);
    let asked = asked(&address);
    let story = Story::of(kept);
    let times = given::times(&asked);
    let drawer = Drawer::new(&asked, &times, &story, kept.run.id);
    let parts = Shown::of(&drawer, &RunHead::of(&drawer, kept), None).parts;
    let page = |part: usize| {
        let address = if part == 0 { address.clone() } else { format!("{address}?part={part}") };
        let page = super::page(&address, kept);
        assert!(page.len() <= LIMIT, "part {part} has {} bytes", page.len());
        assert_is_sound(&page)
    };
    // Without a part the first one is shown, with anchors of calls in others.
    (0..=parts).map(page).collect()
}

/// The numbers of the calls that a part shows.
fn calls(part: &Document) -> BTreeSet<u32> {
    let details = part.elements.iter().filter(|element| element.name == "details");
    let ids = details.filter_map(|element| element.attribute("id")?.strip_prefix("call-"));
    ids.map(|number| number.parse().unwrap()).collect()
}

fn run_of(turns: usize, calls: usize, text: &str) -> Kept {
    let mut steps = opening();
    for _ in 0..turns {
        let call = |_| ok("notes.list", json!({"query": "x".repeat(900)}), text);
        steps.extend(turn(&"Hm. ".repeat(400), &(0..calls).map(call).collect::<Vec<_>>()));
    }
    steps.extend(rated(&[("notes", 3, &"Na ja. ".repeat(140), &[1, 2, 3])]));
    kept(Given { steps, ..Given::default() })
}

#[test]
fn fifteen_turns_with_the_longest_results_are_one_page_that_still_shows_some_of_each() {
    for text in ["wort ".repeat(LONGEST / 5), "\"".repeat(LONGEST), "\u{202e}".repeat(LONGEST)] {
        let pages = parts(&run_of(15, 5, &text));
        assert_eq!(pages.len(), 2, "the page, and the same page as part 1");
        assert_eq!(calls(&pages[0]), (1..=75).collect());
        let result = &pages[0].text_of("pre")[1];
        assert!(result.len() > 40, "{result}");
    }
}

#[test]
fn a_run_of_any_length_is_shown_in_parts_and_each_call_can_be_reached() {
    let kept = run_of(15, 60, &"<&>".repeat(300));
    let pages = parts(&kept);
    let (first, parts) = pages.split_first().unwrap();
    assert!(parts.len() > 2);
    let shown: Vec<_> = parts.iter().map(calls).collect();
    assert_eq!(shown.iter().flatten().count(), 900);
    assert_eq!(shown.iter().flatten().copied().collect::<BTreeSet<_>>(), (1..=900).collect());
    assert_eq!(calls(first), shown[0]);
    // The next calls have an anchor in the page without a part, which leads to them.
    let next = shown[1].first().unwrap();
    assert_eq!(at(first, &format!("call-{next}")), next.to_string());
    let link = format!("?part=2#call-{next}");
    assert!(first.attributes("a", "href").any(|href| href == link));
    // The rating is in the last part, and the calls that it rests on are in the first.
    let rests = parts.last().unwrap().attributes("a", "href");
    assert!(rests.filter(|href| href.starts_with("?part=1#call-")).count() == 3);
    let to_rating = format!("?part={}#rating-notes", parts.len());
    assert!(parts[0].attributes("a", "href").any(|href| href == to_rating));
    // A part that does not exist is the last one.
    let beyond = page(&format!("/ui/runs/{}?part=999", kept.run.id), &kept);
    assert!(beyond.contains(&format!("Teil {0} von {0}", parts.len())));
    // A part that begins within a turn names it.
    assert!(parts[1].text_of("h3")[0].contains("(Fortsetzung)"));
}

#[test]
fn hostile_names_in_every_place_do_not_break_the_limit() {
    for text in ["\"&<>'".repeat(300), "\u{e0041}".repeat(900), "a b\n".repeat(400)] {
        parts(&kept(hostile(&text, 5, 22)));
    }
}

#[test]
fn hundreds_of_modules_ratings_and_frictions_do_not_break_the_limit() {
    let names: Vec<_> = (0..400).map(|n| format!("module-{n}-{}", "\"".repeat(80))).collect();
    let calls: Vec<u32> = (1..=40).collect();
    let ratings: Vec<_> = names.iter().map(|name| (&**name, 3, "\"notes\"", &*calls)).collect();
    let mut steps = opening();
    steps.extend(turn("", &vec![failed("a.b", json!({}), "no"); 40]));
    steps.extend(rated(&ratings));
    let mut kept = kept(Given { steps, ..Given::default() });
    kept.issues = (1..=40).map(|n| (n, format!("F-{n:04}"))).collect();
    assert!(parts(&kept).len() > 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn no_page_is_larger_than_its_limit(
        turns in 1usize..12, calls in 0usize..20, unit in "[a\"<&ä\u{202e}\n{}\\[,:]{1,6}", repeat in 0usize..300,
    ) {
        let mut given = hostile(&unit.repeat(repeat), turns, calls);
        given.name = None;
        parts(&kept(given));
    }
}
