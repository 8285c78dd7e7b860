//! A strict reader of the HTML that the page is written in.

/// Elements that have no end.
const VOID: [&str; 1] = ["meta"];

/// The elements of a page in their order.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) elements: Vec<Element>,
}

/// An element with the text within it.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    text: String,
}

impl Document {
    /// Panics if an element is not closed or closed in the wrong order, if an attribute is not in double quotes, or if
    /// a text has an `&` that begins no known reference.
    pub(super) fn parse(page: &str) -> Self {
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
        assert!(open.is_empty() && rest == "\n", "something follows the page");
        Self { elements }
    }

    /// The texts of the elements with this name.
    pub(super) fn text_of(&self, name: &str) -> Vec<&str> {
        let named = self.elements.iter().filter(|element| element.name == name);
        named.map(|element| &*element.text).collect()
    }

    /// The values of an attribute.
    pub(super) fn attributes<'a>(
        &'a self,
        element: &'a str,
        attribute: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let named = self.elements.iter().filter(move |known| known.name == element);
        let attributes = named.flat_map(|element| &element.attributes);
        attributes.filter(move |(name, _)| name == attribute).map(|(_, value)| &**value)
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
        let (name, value) = attribute.split_once("=\"").expect("a value in quotes");
        assert!(is_name(name), "no name: {name:?}");
        let (value, after) = value.split_once('"').expect("an end of the value");
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
