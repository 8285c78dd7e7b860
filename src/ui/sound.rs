//! What must hold for each page, for tests.

use std::collections::BTreeSet;

use crate::report::html::tests::document::{Document, Element};

/// Asserts everything that holds for each page, and returns its elements.
pub(super) fn assert_is_sound(page: &str) -> Document {
    let document = Document::parse(page);
    let of = |name: &str| document.elements.iter().filter(move |it| it.name == name).count();
    for landmark in ["h1", "main", "header", "footer"] {
        assert_eq!(of(landmark), 1, "{landmark}");
    }
    // Pictures have titles too.
    assert!(of("title") > 0, "the page has a title");
    let mut ids = BTreeSet::new();
    for element in &document.elements {
        element
            .attributes
            .iter()
            .for_each(|(name, value)| assert_is_harmless(element, name, value));
        if let Some(id) = element.attribute("id") {
            assert!(ids.insert(id), "two elements have the id {id}");
            assert!(!id.is_empty() && !id.contains(char::is_whitespace), "{id:?}");
        }
    }
    for address in document.attributes("a", "href") {
        if let Some(anchor) = address.strip_prefix('#') {
            assert!(ids.contains(anchor), "nothing has the id {anchor}");
        }
    }
    let scripts: Vec<_> = document.elements.iter().filter(|it| it.name == "script").collect();
    assert!(
        scripts.iter().all(|it| it.attribute("src") == Some("/ui/ui.js") && it.text.is_empty())
    );
    for (name, parent) in [("summary", "details"), ("dt", "dl"), ("li", "ul")] {
        assert!(of(name) == 0 || of(parent) > 0, "{name} without {parent}");
    }
    for input in document.elements.iter().filter(|it| ["input", "select"].contains(&&*it.name)) {
        assert!(input.attribute("name").is_some(), "{input:?}");
    }
    let mut level = 1;
    for element in &document.elements {
        if let Some(next) = element.name.strip_prefix('h').and_then(|it| it.parse::<u32>().ok()) {
            assert!(next <= level + 1, "a heading of level {next} after one of level {level}");
            level = next;
        }
    }
    document
}

fn assert_is_harmless(element: &Element, name: &str, value: &str) {
    assert!(name != "style" && !name.starts_with("on"), "{name}={value}");
    match name {
        "href" | "action" => {
            let is_ours = value == "/ui"
                || ["/ui/", "/ui?", "/ui.json"].iter().any(|begin| value.starts_with(begin));
            let is_here = value.starts_with('#') || value.starts_with('?');
            assert!(is_ours || is_here, "{name}={value}");
            assert!(!value.contains([' ', '"', '<', '>', '\\', '\n']), "{name}={value}");
        }
        "src" => assert_eq!((&*element.name, value), ("script", "/ui/ui.js")),
        _ => {}
    }
}
