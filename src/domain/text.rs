//! Cuts text to the lengths that rows and log lines allow.

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

#[cfg(test)]
mod tests {
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
    }
}
