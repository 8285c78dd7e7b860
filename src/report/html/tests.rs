pub(crate) mod document;
pub(super) mod samples;
mod week;

use std::collections::BTreeSet;

use proptest::prelude::*;

use self::document::Document;
use super::*;
use crate::{
    domain::Language,
    report::{self, sample::hostile, view::view},
};

/// Texts that would do harm if they became markup.
pub(crate) const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)\" style=\"color:red",
    "' onload='alert(1)",
    "<!-- & &lt; &#60; ]]> -->",
    "\u{202e}evil\u{202c} \u{2066}שלום\u{2069} \0 \u{1b}[31m",
    "http://example.org/x.png | `code` [link](javascript:alert(1))",
    "</svg></table></section></main></body></html>",
];

/// Asserts everything that holds for each page.
fn assert_is_sound(page: &str) {
    let document = Document::parse(page);
    let style = document.text_of("style");
    assert_eq!(style, [STYLE]);
    let policies: Vec<_> = document.attributes("meta", "content").collect();
    let hash = BASE64_STANDARD.encode(Sha256::digest(style[0].as_bytes()));
    assert!(policies[0].starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}'")));

    let allowed: BTreeSet<&str> =
        "html head meta title style body header h1 h2 h3 p ul ol li main section span div bdi figure figcaption \
         blockquote q code dl dt dd table thead tbody tr th td svg rect path circle footer"
            .split(' ')
            .collect();
    for element in &document.elements {
        assert!(allowed.contains(&*element.name), "<{}>", element.name);
        for (name, value) in &element.attributes {
            assert!(name != "style" && !name.starts_with("on"), "{name}={value}");
            assert!(name != "src" && !name.ends_with("href"), "{name}={value}");
            let is_text = name == "data-label";
            assert!(is_text || !value.contains("://") && !value.contains("url("), "{name}={value}");
        }
    }
    for svg in document.elements.iter().filter(|element| element.name == "svg") {
        let attribute = |name: &str| svg.attributes.iter().any(|(known, _)| known == name);
        assert!(
            attribute("role") || attribute("aria-hidden"),
            "a picture that is neither named nor hidden"
        );
        assert!(attribute("width") && attribute("height") && attribute("viewBox"));
    }
    let headings = document
        .elements
        .iter()
        .filter_map(|element| element.name.strip_prefix('h')?.parse::<u32>().ok());
    let headings: Vec<_> = headings.collect();
    assert_eq!(headings[0], 1);
    assert!(headings.windows(2).all(|pair| pair[1] > 1 && pair[1] <= pair[0] + 1), "{headings:?}");
}

#[test]
fn a_page_is_well_formed_and_carries_nothing_that_acts_or_loads() {
    for view in [week::rich(), samples::empty(), samples::counts(28), samples::grid(50, 28)] {
        assert_is_sound(&render(&view));
    }
}

#[test]
fn the_sentence_is_the_first_thing_that_is_shown() {
    let page = render(&week::rich());
    let body = page.split_once("<body>").unwrap().1;
    assert!(body.starts_with("<header><h1>Im Modul"), "{}", &body[..80]);
    assert!(page.starts_with(
        "<!DOCTYPE html><html lang=\"de\"><head><meta charset=\"utf-8\"><meta http-equiv="
    ));
}

#[test]
fn texts_of_peers_stay_texts_in_every_field() {
    for hostile in HOSTILE {
        let page = render(&samples::filled_with(hostile, 3));
        assert_is_sound(&page);
        let document = Document::parse(&page);
        assert_eq!(document.text_of("h1"), [hostile]);
        assert_eq!(document.text_of("title")[0], hostile);
        assert!(document.text_of("bdi").iter().all(|text| *text == hostile));
    }
}

#[test]
fn long_texts_and_many_rows_stay_sound() {
    assert_is_sound(&render(&samples::filled_with(&"<&\"> ".repeat(1_000), 3)));
    assert_is_sound(&render(&samples::filled_with(HOSTILE[1], 2_000)));
}

#[test]
fn the_grid_takes_few_bytes_however_the_days_of_fifty_personas_differ() {
    let empty = render(&samples::empty()).len();
    for view in [samples::grid(50, 28), samples::counts(28)] {
        let size = render(&view).len() - empty;
        assert!(size < 60_000, "{size} bytes");
    }
}

/// A quotation mark takes six bytes, the most of all characters.
#[test]
fn a_page_of_the_longest_texts_in_which_each_character_is_escaped_is_small() {
    let marks = |count| "\"".repeat(count);
    let mut view = samples::filled_with(&marks(40), 12);
    view.hurts.items.truncate(5);
    view.modules.items = vec![view.modules.items[0].clone(); 30];
    let quotes = view.hurts.items.iter_mut().map(|hurt| {
        hurt.title = marks(160);
        &mut hurt.quote
    });
    quotes.flatten().for_each(|quote| quote.text = marks(240));
    let quotes = view.modules.items.iter_mut().map(|module| &mut module.quote);
    quotes.flatten().for_each(|quote| quote.text = marks(160));
    let grid = samples::grid(50, 28);
    (view.coverage, view.legend) = (grid.coverage, grid.legend);
    view.modules.columns = week::rich().modules.columns;
    let size = render(&view).len();
    assert!(size < 300_000, "{size} bytes");
}

#[test]
fn a_page_of_a_hostile_report_is_sound_and_small() {
    for language in [Language::German, Language::English] {
        let page = render(&view(&hostile(), language));
        assert_is_sound(&page);
        assert!(page.len() <= 300_000, "{} bytes", page.len());
    }
}

#[test]
fn the_mean_stands_in_grey_beside_the_difference() {
    let page = render(&view(&report::sample::week(), Language::German));
    let means = page.split("<td class=\"raw\" data-label=\"Mittel\">").skip(1);
    let means: Vec<_> = means.map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(means, ["3,3 aus 42 Noten"]);
    assert!(STYLE.contains(".modules .raw { color: var(--grey); }"));
}

#[test]
fn no_line_break_divides_an_interval_or_a_number_from_its_percent_sign() {
    let page = render(&view(&report::sample::week(), Language::German));
    assert!(
        page.contains("15 von 42 Läufen <span class=\"whole\">[13–67\u{a0}%]</span>"),
        "{page}"
    );
    assert!(page.contains("36\u{a0}% von 42 Läufen <span class=\"whole\">[13–67\u{a0}%]</span>"));
    assert!(STYLE.contains(".whole { white-space: nowrap; }"));
}

#[test]
fn the_same_view_gives_the_same_bytes() {
    assert_eq!(render(&week::rich()), render(&week::rich()));
}

#[test]
fn a_section_without_items_shows_its_note_and_no_table() {
    let mut view = week::rich();
    view.slow.items.clear();
    view.slow.note = Some("Kein Werkzeug war langsam.".into());
    let with = Document::parse(&render(&week::rich())).text_of("table").len();
    let without = Document::parse(&render(&view));
    assert_eq!(without.text_of("table").len(), with - 1);
    assert!(without.text_of("p").contains(&"Kein Werkzeug war langsam."));
}

#[test]
fn a_word_for_absence_takes_the_place_of_difference_and_mean() {
    let mut view = week::rich();
    view.modules.items.truncate(1);
    view.modules.items[0].absence = Some("zu wenig".into());
    let page = render(&view);
    assert!(page.contains("<td class=\"absence\" colspan=\"2\""));
    assert!(!page.contains("class=\"raw\"") && !page.contains("class=\"delta\""));
}

proptest! {
    #[test]
    fn any_text_is_shown_as_it_is(text in "\\PC{0,40}") {
        let page = render(&samples::filled_with(&text, 2));
        assert_is_sound(&page);
        let document = Document::parse(&page);
        prop_assert_eq!(document.text_of("h1"), [text]);
    }
}
