//! A strict reader of the HTML that reports and pages are written in.

/// Elements that have no end.
const VOID: [&str; 4] = ["br", "meta", "link", "input"];

/// The elements of a page in their order.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) elements: Vec<Element>,
}

/// An element with the text within it.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    /// The value of an attribute that has none is empty.
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Document {
    /// Panics if an element is not closed or closed in the wrong order, if an attribute is not in double quotes, or if
    /// a text has an `&` that begins no known reference.
    pub(crate) fn parse(page: &str) -> Self {
        let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a doctype");
        let mut elements: Vec<Element> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        while let Some((text, tag)) = rest.split_once('<') {
            let text = unescaped(text);
            open.iter().for_each(|element| elements[*element].text.push_str(&text));
            if let Some(end) = tag.strip_prefix('/') {
                let (name, after) = end.split_once('>').expect("an end of the end tag");
                let element = open.pop().expect("an open element");
                assert_eq!(elements[element].name, name, "closed in the wrong order");
                rest = after;
                continue;
            }
            let (element, after) = start_tag(tag);
            rest = after;
            let is_style = element.name == "style";
            if !VOID.contains(&&*element.name) {
                open.push(elements.len());
            }
            elements.push(element);
            if is_style {
                // A browser takes everything up to the end tag as it is.
                let (style, after) = rest.split_once("</").expect("an end of the style");
                elements.last_mut().expect("the style").text = style.to_owned();
                open.pop();
                rest = after.strip_prefix("style>").expect("an end of the style");
            }
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "something follows the page");
        Self { elements }
    }

    /// The texts of the elements with this name.
    pub(crate) fn text_of(&self, name: &str) -> Vec<&str> {
        let named = self.elements.iter().filter(|element| element.name == name);
        named.map(|element| &*element.text).collect()
    }

    /// The values of an attribute.
    pub(crate) fn attributes<'a>(
        &'a self,
        element: &'a str,
        attribute: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let named = self.elements.iter().filter(move |known| known.name == element);
        let attributes = named.flat_map(|element| &element.attributes);
        attributes.filter(move |(name, _)| name == attribute).map(|(_, value)| &**value)
    }
}

impl Element {
    /// The value of an attribute.
    pub(crate) fn attribute(&self, wanted: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| &**value)
    }
}

/// Reads what follows `<`.
fn start_tag(tag: &str) -> (Element, &str) {
    let end = tag.find([' ', '>']).expect("an end of the name");
    let (name, mut rest) = tag.split_at(end);
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    assert!(is_name(name), "no name: {name:?}");
    let mut attributes = Vec::new();
    while let Some(attribute) = rest.strip_prefix(' ') {
        let end = attribute.find(['=', ' ', '>']).expect("an end of the name");
        let (name, after) = attribute.split_at(end);
        assert!(is_name(name), "no name: {name:?}");
        let (value, after) = match after.strip_prefix('=') {
            None => ("", after),
            Some(value) => {
                let value = value.strip_prefix('"').expect("a value in quotes");
                value.split_once('"').expect("an end of the value")
            }
        };
        assert!(!attributes.iter().any(|(known, _)| known == name), "{name} twice");
        attributes.push((name.to_owned(), unescaped(value)));
        rest = after;
    }
    let rest = rest.strip_prefix('>').expect("an end of the tag");
    (Element { name: name.to_owned(), attributes, text: String::new() }, rest)
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) = part.split_once(';').expect("an end of the reference");
        plain.push_str(match name {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            _ => panic!("an unknown reference: {name}"),
        });
        plain.push_str(after);
    }
    plain
}
