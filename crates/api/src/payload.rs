//! The check that every reader can parse a payload or a result.
//!
//! The payload is stored and handed on as the text that came. A text that most
//! JSON libraries refuse (a lone surrogate, a number beyond every type, a
//! thousand brackets) would make the operation, and every list that it is on,
//! unreadable for them; better to refuse it at its sender.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The depth to which arrays and objects may be nested. Most libraries stop at
/// 128, and a payload is shown inside of an operation inside of a list.
pub(crate) const NESTING: usize = 100;

/// Returns the fault of a payload, if it has one.
pub(crate) fn check(value: &RawValue) -> Result<(), String> {
    let mut text = serde_json::Deserializer::from_str(value.get());
    Level(NESTING)
        .deserialize(&mut text)
        .map_err(|error| format!("is not JSON that common parsers accept: {error}"))
}

/// Returns the fault of a text, if it is no JSON or has a fault as a payload.
///
/// # Errors
/// The fault, as the end of a sentence.
pub fn check_text(text: &str) -> Result<(), String> {
    let value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    check(value)
}

/// Replaces each lone surrogate in JSON (`\\udc80`, which Python writes for a file
/// name that is not UTF-8) with the replacement character. No parser takes it
/// otherwise.
#[must_use]
pub fn mended(json: String) -> String {
    let mut mended = String::new();
    let mut kept = 0;
    let mut at = 0;
    let bytes = json.as_bytes();
    let next = |at: usize| bytes.get(at..)?.iter().position(|byte| *byte == b'\\');
    while let Some(found) = next(at) {
        let start = at + found;
        let Some(unit) = escaped_unit(&json, start) else {
            // The escape of one character. It may be a backslash.
            at = start + 2;
            continue;
        };
        let second = escaped_unit(&json, start + ESCAPE);
        let is_pair = is_high(unit) && second.is_some_and(is_low);
        at = start + if is_pair { 2 * ESCAPE } else { ESCAPE };
        if !is_pair && (is_high(unit) || is_low(unit)) {
            mended.push_str(json.get(kept..start).unwrap_or_default());
            mended.push_str("\\ufffd");
            kept = at;
        }
    }
    if kept == 0 {
        return json;
    }
    mended.push_str(json.get(kept..).unwrap_or_default());
    mended
}

/// The bytes of an escape: `\u` and four digits.
const ESCAPE: usize = 6;

/// The number in the escape that starts here.
fn escaped_unit(json: &str, start: usize) -> Option<u16> {
    let digits = json.get(start..start + ESCAPE)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

const fn is_high(unit: u16) -> bool {
    matches!(unit, 0xD800..=0xDBFF)
}

const fn is_low(unit: u16) -> bool {
    matches!(unit, 0xDC00..=0xDFFF)
}

/// Visits everything and keeps nothing; so many levels may follow.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    fn below<E: Error>(self) -> Result<Self, E> {
        self.0
            .checked_sub(1)
            .map(Self)
            .ok_or_else(|| E::custom(format_args!("it is more than {NESTING} levels deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while items.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while members.next_key_seed(below)?.is_some() {
            members.next_value_seed(below)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        check(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn ordinary_payloads_pass() {
        let deep = format!("{}{}", "[".repeat(NESTING), "]".repeat(NESTING));
        let long = "123456789012345678901234567890.5";
        for good in [
            "1",
            "\"ü\"",
            "[]",
            r#"{"a":{"b":[null,true]}}"#,
            &deep,
            long,
        ] {
            assert_eq!(checked(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_others_could_not_read_is_refused() {
        let deep = format!("{}{}", "[".repeat(NESTING + 1), "]".repeat(NESTING + 1));
        for bad in [deep.as_str(), "\"\\ud800\"", "1e999"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lone_surrogate_is_replaced_and_nothing_else() {
        for (text, expected) in [
            (r#""a\udc80b""#, r#""a\ufffdb""#),
            (r#""\ud83d\ude00 \ud83d""#, r#""\ud83d\ude00 \ufffd""#),
            (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
            (r#""\\udc80""#, r#""\\udc80""#),
            (r#""\\\udc80""#, r#""\\\ufffd""#),
            (r#""\udc8"#, r#""\udc8"#),
            (r#""\"#, r#""\"#),
            (r#""\é\udc80""#, r#""\é\ufffd""#),
        ] {
            assert_eq!(mended(text.to_owned()), expected, "{text}");
        }
        assert_eq!(check_text(&mended(r#"["\udc80"]"#.to_owned())), Ok(()));
    }
}
