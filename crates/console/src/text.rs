//! Texts that came from outside, on a page: names, tokens, messages, payloads.
//!
//! The templates escape every text for HTML. That leaves the characters that have
//! no glyph and change what is around them: they turn the direction of writing, or
//! make two texts that differ look the same. [`Text`] shows these as `�`.

pub use drumline_protocol::text::grouped as number;
use std::fmt;

/// The most bytes of a payload, a result or an error that a page shows.
pub(crate) const BLOCK_BYTES: usize = 64 << 10;

/// A text that is safe to show. Templates escape it for HTML, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// A text in one line.
    #[must_use]
    pub fn line(text: &str) -> Self {
        let harmless = |character| match character {
            '\t' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
            other => visible(other),
        };
        Self(text.chars().map(harmless).collect())
    }

    /// A text whose line breaks stay.
    #[must_use]
    pub fn block(text: &str) -> Self {
        let harmless = |character| match character {
            '\t' | '\n' => character,
            '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
            other => visible(other),
        };
        Self(text.chars().map(harmless).collect())
    }

    /// A sentence of ours: with a capital letter, and a full stop at its end.
    #[must_use]
    pub fn sentence(text: &str) -> Self {
        let Self(line) = Self::line(text.trim());
        let mut letters = line.chars();
        let first = letters.next();
        let mut sentence: String = first.into_iter().flat_map(char::to_uppercase).collect();
        sentence.push_str(letters.as_str());
        if !sentence.ends_with(['.', '!', '?']) {
            sentence.push('.');
        }
        Self(sentence)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text in parts: each is plain words and then code, which stood between
    /// backticks. Each of the two may be empty.
    #[must_use]
    pub fn parts(&self) -> Vec<(&str, &str)> {
        let mut parts = Vec::new();
        let mut rest = self.as_str();
        while let Some((plain, behind)) = rest.split_once('`') {
            let Some((code, after)) = behind.split_once('`') else {
                break;
            };
            parts.push((plain, code));
            rest = after;
        }
        parts.push((rest, ""));
        parts
    }

    /// Returns true if there is nothing to see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::line(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::line(&text)
    }
}

const fn visible(character: char) -> char {
    if is_invisible(character) {
        '\u{fffd}'
    } else {
        character
    }
}

/// True for characters without a glyph that change what is around them. The
/// joiners, which are part of many scripts and of emoji, are not among them.
const fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // The direction of writing.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Nothing to see.
        | '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A payload, a result or an error: long, and folded away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The heading.
    pub title: &'static str,
    /// The text, or its beginning.
    pub text: Text,
    /// The bytes of the whole text, in words.
    pub size: String,
    /// True if the text is only the beginning.
    pub is_cut: bool,
}

impl Block {
    /// A block of a text; `None` if there is none.
    #[must_use]
    pub fn of(title: &'static str, text: Option<&str>) -> Option<Self> {
        let text = text.filter(|text| !text.is_empty())?;
        let mut end = text.len().min(BLOCK_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let begin = text.get(..end).unwrap_or_default();
        Some(Self {
            title,
            text: Text::block(begin),
            size: bytes(text.len()),
            is_cut: end < text.len(),
        })
    }
}

/// A number of bytes in words: `512 bytes`, `1.5 KiB`.
#[must_use]
pub fn bytes(count: usize) -> String {
    let tenths = |unit: usize| {
        let tenths = count.saturating_mul(10) / unit;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match count {
        0..1024 => format!("{count} bytes"),
        1024..1_048_576 => format!("{} KiB", tenths(1 << 10)),
        _ => format!("{} MiB", tenths(1 << 20)),
    }
}

/// A value as a part of an address.
#[must_use]
pub fn encoded(text: &str) -> String {
    use fmt::Write as _;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // A string takes every text.
            let _always = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// An address with parameters.
#[must_use]
pub fn address<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut address = path.to_owned();
    for (place, (name, value)) in pairs.into_iter().enumerate() {
        address.push(if place == 0 { '?' } else { '&' });
        address.push_str(&encoded(name));
        address.push('=');
        address.push_str(&encoded(value));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_glyph_is_shown() {
        for (text, shown) in [
            ("\u{202e}gpj.exe", "\u{fffd}gpj.exe"),
            ("a\u{200b}b", "a\u{fffd}b"),
            ("two\r\nlines", "two  lines"),
            ("a\u{0}b\u{1b}c", "a\u{fffd}b\u{fffd}c"),
        ] {
            assert_eq!(Text::line(text).as_str(), shown);
        }
        assert_eq!(Text::block("a\n\tb\u{2028}c").as_str(), "a\n\tb c");
        for same in ["Müller", "日本語", "👩‍👩‍👧", "שלום", "नमस्ते"]
        {
            assert_eq!(Text::line(same).as_str(), same);
        }
    }

    #[test]
    fn a_block_shows_its_beginning_and_its_size() {
        let whole = Block::of("Data", Some("{}")).unwrap();
        assert!(!whole.is_cut);
        assert_eq!(whole.size, "2 bytes");
        let long = format!("a{}", "ü".repeat(BLOCK_BYTES));
        let cut = Block::of("Data", Some(&long)).unwrap();
        assert!(cut.is_cut);
        assert!(cut.text.as_str().len() <= BLOCK_BYTES);
        assert_eq!(cut.size, "128.0 KiB");
        assert_eq!(Block::of("Data", None), None);
        assert_eq!(Block::of("Data", Some("")), None);
    }

    #[test]
    fn an_address_keeps_its_values_apart() {
        let pairs = [("name", "a&b=c"), ("dependencyToken", "ü/?#")];
        assert_eq!(
            address("/operations", pairs),
            "/operations?name=a%26b%3Dc&dependencyToken=%C3%BC%2F%3F%23"
        );
        assert_eq!(address("/", []), "/");
    }

    #[test]
    fn numbers_are_read_in_groups() {
        assert_eq!(number(7), "7");
        assert_eq!(number(1_234_567), "1\u{a0}234\u{a0}567");
        assert_eq!(bytes(1536), "1.5 KiB");
    }

    #[test]
    fn what_stands_between_backticks_is_code() {
        let text = Text::sentence("start one: `drumline worker`");
        assert_eq!(
            text.parts(),
            [("Start one: ", "drumline worker"), (".", "")]
        );
        assert_eq!(Text::line("a ` b").parts(), [("a ` b", "")]);
        assert_eq!(Text::line("").parts(), [("", "")]);
    }

    #[test]
    fn a_sentence_begins_and_ends_as_one() {
        assert_eq!(Text::sentence("no worker").as_str(), "No worker.");
        assert_eq!(Text::sentence("Why?").as_str(), "Why?");
    }
}
