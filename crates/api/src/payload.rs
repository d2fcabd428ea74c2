//! The check that every reader can parse a payload.
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
}
