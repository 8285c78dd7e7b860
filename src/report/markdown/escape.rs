//! Texts in Markdown, so that none starts markup, breaks a table, becomes a link or calls somebody.

/// A space without width. After `@` and `#`, it keeps GitHub from finding a person or an issue, and within the
/// beginning of a URL, it keeps the URL from becoming a link; a backslash does neither.
const BREAK: &str = "&#8203;";

/// `text` as running text, also in a table and at the begin of a line.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    for (position, c) in text.char_indices() {
        match c {
            '\\' | '`' | '*' | '_' | '~' => escaped.extend(['\\', c]),
            // A link or its definition.
            ']' if rest(text, position + 1).starts_with(['(', '[', ':']) => {
                escaped.extend(['\\', c])
            }
            // A box to tick, or the definition of a link.
            '[' if position == 0 => escaped.extend(['\\', c]),
            // A list or the line below a heading.
            '-' | '+' | '=' if position == 0 => escaped.extend(['\\', c]),
            // A numbered list.
            '.' | ')' if position == digits && is_end_of_word(rest(text, position + 1)) => {
                escaped.extend(['\\', c]);
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' => escaped.push_str("&#124;"),
            // GitHub shows what stands between two of them as a formula.
            '$' => escaped.push_str("&#36;"),
            '@' | '#' => {
                escaped.push(c);
                escaped.push_str(BREAK);
            }
            ':' if rest(text, position).starts_with("://") => {
                escaped.push(c);
                escaped.push_str(BREAK);
            }
            '.' if ends_with_www(text, position) => {
                escaped.push_str(BREAK);
                escaped.push(c);
            }
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}

fn is_end_of_word(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(char::is_whitespace)
}

fn rest(text: &str, position: usize) -> &str {
    text.get(position..).unwrap_or_default()
}

fn ends_with_www(text: &str, position: usize) -> bool {
    let before = position.checked_sub(3).and_then(|begin| text.get(begin..position));
    before.is_some_and(|before| before.eq_ignore_ascii_case("www"))
}

/// A name as a code span. An unusual one is running text: backticks, bars and angle brackets have no escapes in a code
/// span that all programs understand.
pub(super) fn code(name: &str) -> String {
    let is_usual = |c: char| c.is_alphanumeric() || "._-:/".contains(c);
    match !name.is_empty() && name.chars().all(is_usual) {
        true => format!("`{name}`"),
        false => escape(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text_stays_as_it_is() {
        let text = "todo.complete scheitert: Task ‹uuid› is locked – 7 von 10 Personas, 19 von 31 Läufen (44 %)";
        assert_eq!(escape(text), text);
        assert_eq!(escape("10.50 USD [44–77 %]"), "10.50 USD [44–77 %]");
    }

    #[test]
    fn nothing_starts_markup_a_link_or_a_call() {
        for (text, expected) in [
            ("<script>", "&lt;script&gt;"),
            ("a|b", "a&#124;b"),
            ("**`x`**_y_~~z~~", r"\*\*\`x\`\*\*\_y\_\~\~z\~\~"),
            ("[a](b) ![c](d) [e][f]", r"\[a\](b) ![c\](d) [e\][f]"),
            ("[x] [a]: b", r"\[x] [a\]: b"),
            ("@team", "@&#8203;team"),
            ("# 1 and #12", "#&#8203; 1 and #&#8203;12"),
            ("https://a.b", "https:&#8203;//a.b"),
            ("WWW.a.b", "WWW&#8203;.a.b"),
            ("a@b.c", "a@&#8203;b.c"),
            ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
            ("$x$", "&#36;x&#36;"),
            (r"\|", r"\\&#124;"),
            ("- a", r"\- a"),
            ("+ a", r"\+ a"),
            ("===", r"\==="),
            ("12. a", r"12\. a"),
            ("1) a", r"1\) a"),
            ("a\nb", "a b"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn only_a_usual_name_is_a_code_span() {
        assert_eq!(code("todo.list_all"), "`todo.list_all`");
        assert_eq!(code("a`b"), r"a\`b");
        assert_eq!(code("a|<b>@c"), "a&#124;&lt;b&gt;@&#8203;c");
        assert_eq!(code(""), "");
    }

    proptest! {
        #[test]
        fn no_text_has_a_character_left_that_markdown_acts_on(text in r"[a-c|`<>@&\\*_~#:./w\n \x00\u{202e}ä-]{0,60}") {
            for escaped in [escape(&text), code(&text)] {
                let outside = match escaped.strip_prefix('`') {
                    Some(inside) => {
                        let inside = inside.strip_suffix('`').unwrap();
                        prop_assert!(!inside.contains(['`', '|', '<', '\n']), "{escaped}");
                        String::new()
                    }
                    None => escaped,
                };
                prop_assert!(!outside.contains(['|', '<', '>', '\n', '\r']), "{outside}");
                prop_assert!(!outside.contains("://"), "{outside}");
                let mut before = None;
                let mut is_escaped = false;
                for c in outside.chars() {
                    if "`*_~".contains(c) {
                        prop_assert!(is_escaped, "{outside}");
                    }
                    if before == Some('@') {
                        prop_assert_eq!(c, '&', "{}", outside);
                    }
                    is_escaped = c == '\\' && !is_escaped;
                    before = Some(c);
                }
            }
        }
    }
}
