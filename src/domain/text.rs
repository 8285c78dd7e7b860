//! Cuts text to the lengths that rows and log lines allow, and makes text of others safe to show.

/// The longest beginning of `text` that has at most `max_units` UTF-16 code units, without NUL characters.
/// JavaScript, and with it the peers, counts length in these units. One NUL would lose a whole batch
/// (docs/contracts/mana-auth.md).
pub(crate) fn clip(text: &str, max_units: usize) -> String {
    let mut units = 0;
    text.chars()
        .filter(|&c| c != '\0')
        .take_while(|c| {
            units += c.len_utf16();
            units <= max_units
        })
        .collect()
}

/// `text` on one line: each sequence of white space and control characters becomes one space.
pub(crate) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether `c` is shown as itself, on the line where it stands: no control character, no line break, nothing invisible,
/// and nothing that changes the direction of the text.
pub(crate) fn is_printable(c: char) -> bool {
    let is_hidden = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !is_hidden
}

/// [`one_line`] of the text's printable characters and its white space.
pub(crate) fn printable_line(text: &str) -> String {
    one_line(&text.replace(|c: char| !is_printable(c) && !c.is_whitespace() && !c.is_control(), ""))
}

/// `text` without characters that a terminal would act on or that nobody sees. Line breaks stay, and tabs become spaces.
/// All other characters that are not [printable](is_printable) are written as escapes, but for the joiner within an emoji
/// of several characters.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => shown.push('\n'),
            '\r' if rest.peek() == Some(&'\n') => {}
            '\t' => shown.push_str("    "),
            '\u{200d}'
                if shown.ends_with(is_symbol) && rest.peek().copied().is_some_and(is_symbol) =>
            {
                shown.push(c);
            }
            c if is_printable(c) => shown.push(c),
            c => shown.extend(c.escape_unicode()),
        }
    }
    shown
}

/// Whether `c` is a printable character beyond ASCII that belongs to no word, as all parts of an emoji are.
fn is_symbol(c: char) -> bool {
    is_printable(c) && !c.is_ascii() && !c.is_alphanumeric()
}

/// `text` on one line of at most `most` characters. A text that was cut ends with `…`.
pub(crate) fn clipped_line(text: &str, most: usize) -> String {
    // Two characters, those of a line break, become one; no others become fewer. What is beyond is not shown.
    let beginning: String = text.trim().chars().take(2 * most + 2).collect();
    let line = printable(&beginning).replace('\n', " ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clip_counts_as_javascript_does_and_never_splits_a_character() {
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abcd", 3), "abc");
        assert_eq!(clip("ab😀", 3), "ab");
        assert_eq!(clip("ab😀", 4), "ab😀");
        assert_eq!(clip("a\0b", 2), "ab");
    }

    #[test]
    fn one_line_folds_white_space_and_control_characters() {
        assert_eq!(one_line("  a\r\n\tb\u{1b}c  "), "a b c");
        assert_eq!(printable_line(" a\n\u{202e}b\u{200b}c\u{2028}d "), "a bc d");
    }

    #[test]
    fn nothing_that_a_terminal_would_act_on_gets_through() {
        let nasty = "a\u{1b}[31mb\u{7}\u{9b}2Jc\r\nd\re\tf\0\u{7f}\u{202e}g\u{2028}h\u{61c}ü😀\n";
        let shown = printable(nasty);
        assert_eq!(
            shown,
            "a\\u{1b}[31mb\\u{7}\\u{9b}2Jc\nd\\u{d}e    f\\u{0}\\u{7f}\\u{202e}g\\u{2028}h\\u{61c}ü😀\n"
        );
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn what_nobody_would_see_is_written_as_an_escape() {
        let hidden =
            ['\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{e0041}'];
        for c in hidden {
            assert_eq!(printable(&format!("a{c}b")), format!("a{}b", c.escape_unicode()));
        }
    }

    #[test]
    fn an_emoji_of_several_characters_stays_whole_and_hides_nothing() {
        let shrug = "🤷\u{200d}♀\u{fe0f} 👩🏽\u{200d}💻";
        assert_eq!(printable(shrug), shrug);
        assert_eq!(printable("👩\u{200d}\u{200d}💻"), "👩\\u{200d}\\u{200d}💻");
        assert_eq!(printable("👩\u{200d}a"), "👩\\u{200d}a");
    }

    #[test]
    fn a_cell_is_one_line_and_says_where_it_was_cut() {
        assert_eq!(clipped_line(" a\nb ", 10), "a b");
        assert_eq!(clipped_line("äöüäöü", 6), "äöüäöü");
        assert_eq!(clipped_line("äöüäöüä", 6), "äöüäö…");
    }

    proptest! {
        #[test]
        fn a_cell_begins_like_the_whole_text(text in "[ a\r\n\tä\u{200d}\0]{0,40}", most in 1usize..12) {
            let whole: Vec<_> = printable(text.trim()).replace('\n', " ").chars().collect();
            let cell: Vec<_> = clipped_line(&text, most).chars().collect();
            let is_cut = whole.len() > most;
            prop_assert_eq!(cell.len(), whole.len().min(most));
            let same = cell.len() - usize::from(is_cut);
            prop_assert_eq!(&cell[..same], &whole[..same]);
            prop_assert_eq!(is_cut, cell.last() == Some(&'…'));
        }
    }
}
