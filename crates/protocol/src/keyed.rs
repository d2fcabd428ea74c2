//! The mark of an operation that an idempotency key may stand for, in its body.
//!
//! The store remembers such an operation beyond its removal, for as long as the key may
//! name it. All others are forgotten soon.

use crate::extensions::Field;
use crate::operation::Body;
use crate::version::FormatVersion;

/// Absent where the create had no key: most creates have none, and pay nothing. No
/// release has written a store without the field.
const IS_KEYED: Field<bool> = Field::new(1, FormatVersion::new(4, 0));

impl Body {
    /// Notes whether the create of the operation has an idempotency key.
    pub fn mark_keyed(&mut self, is_keyed: bool) {
        let writes = IS_KEYED.since();
        if !is_keyed || self.extensions.set(&IS_KEYED, &true, writes).is_err() {
            self.extensions.remove(&IS_KEYED);
        }
    }

    /// Returns true if an idempotency key may stand for the operation. A mark that
    /// cannot be decoded counts as one: a second execution is worse than a key too many.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        self.extensions.get(&IS_KEYED).unwrap_or(Some(true)) == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn an_operation_without_a_key_pays_nothing() {
        let mut body = Body::new("a", Timestamp::from_millis(1));
        assert!(!body.is_keyed());
        body.mark_keyed(true);
        assert!(body.is_keyed());
        assert!(body.without_data().is_keyed());
        body.mark_keyed(false);
        assert!(!body.is_keyed());
        assert!(body.extensions.is_empty());
    }

    #[test]
    fn a_mark_that_cannot_be_decoded_counts() {
        let mut body = Body::new("a", Timestamp::from_millis(1));
        let other: Field<String> = Field::new(1, FormatVersion::new(4, 0));
        let text = "a text".to_owned();
        body.extensions.set(&other, &text, other.since()).unwrap();
        assert!(body.is_keyed());
    }
}
