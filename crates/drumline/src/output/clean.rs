//! Texts that came from outside, on a terminal: names, tokens, messages, reasons.
//!
//! A name may contain what a terminal takes for an order: to move the cursor, to
//! colour, to turn the direction of writing. Every text passes through here on its
//! way out, so no such character reaches the terminal. Shown are a blank for white
//! space, and `�` for everything else of the kind.

use std::fmt::Write as _;

/// A text in one line, without characters that a terminal obeys.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// The same for a text of ours with texts from outside in it: its line breaks stay.
pub(super) fn clean_lines(text: &str) -> String {
    let kept = |character| match character {
        '\n' => '\n',
        other => harmless(other),
    };
    text.chars().map(kept).collect()
}

/// JSON in one line, without characters that a terminal obeys. The value is the
/// same: line breaks stand between values only, and all others within strings.
pub(super) fn clean_json(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    for character in json.chars() {
        match harmless(character) {
            same if same == character => clean.push(character),
            ' ' if matches!(character, '\n' | '\r' | '\t') => clean.push(' '),
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    // A string takes every text.
                    let _always = write!(clean, "\\u{unit:04x}");
                }
            }
        }
    }
    clean
}

const fn harmless(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        _ if obeyed(character) => '\u{fffd}',
        _ => character,
    }
}

/// True for characters without a glyph that change what is around them. The
/// joiners, which are part of many scripts and of emoji, are not among them.
const fn obeyed(character: char) -> bool {
    matches!(character,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // The direction of writing.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Nothing to see, and texts that differ would look the same.
        | '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let texts = [
            ("a\x1b[31mb", "a\u{fffd}[31mb"),
            ("two\nlines\r\n\tmore", "two lines   more"),
            ("\u{9b}2J", "\u{fffd}2J"),
            ("\u{202e}gpj.exe", "\u{fffd}gpj.exe"),
            ("ab\u{2028}c", "ab c"),
            ("a\u{200b}b", "a\u{fffd}b"),
        ];
        for (text, shown) in texts {
            assert_eq!(clean(text), shown);
        }
        for same in ["Müller", "日本語", "👩‍👩‍👧", "שלום", "नमस्ते", "🏳️‍🌈"]
        {
            assert_eq!(clean(same), same);
        }
    }

    #[test]
    fn a_json_value_is_one_line_and_the_same_value() {
        let json = "{\n\t\"a\": \"\u{9b}x\u{2028}\u{e0001}\",\r\n \"b\": [1,\n2]}";
        let clean = clean_json(json);
        assert!(
            !clean.contains(['\n', '\r', '\u{9b}', '\u{2028}']),
            "{clean}"
        );
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(read(&clean), read(json));
    }
}
