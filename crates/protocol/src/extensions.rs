//! Fields that a minor version adds to a record or an offer.
//!
//! A release that does not know a field keeps its bytes and writes them again
//! with whatever else it changes. A release that knows it reads and sets it
//! through a [`Field`].

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::version::FormatVersion;

/// The added fields of one value: tag → bytes. No fields cost one byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Extensions(BTreeMap<u32, Vec<u8>>);

/// A field that a minor version has added.
///
/// Each kind of value (header, body, report, offer) has tags of its own. The tag of
/// a field that is no longer written is not used again.
#[derive(Debug)]
pub struct Field<T> {
    /// The number of the field.
    tag: u32,
    /// The first version that reads the field.
    since: FormatVersion,
    value: PhantomData<fn() -> T>,
}

impl<T> Field<T> {
    /// The field with this tag, which is read from this version on.
    #[must_use]
    pub const fn new(tag: u32, since: FormatVersion) -> Self {
        Self {
            tag,
            since,
            value: PhantomData,
        }
    }

    /// The first version that reads the field.
    #[must_use]
    pub const fn since(&self) -> FormatVersion {
        self.since
    }

    /// Returns true if every live member reads the field, when `writes` is what
    /// every live member reads.
    #[must_use]
    pub fn is_read_by_all(&self, writes: FormatVersion) -> bool {
        self.since <= writes
    }
}

impl Extensions {
    /// Returns true if there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a field; `None` if it is not set.
    ///
    /// # Errors
    /// When its bytes are not those of such a value.
    pub fn get<T: DeserializeOwned>(&self, field: &Field<T>) -> Result<Option<T>, codec::Error> {
        let bytes = self.0.get(&field.tag);
        bytes.map(|bytes| codec::decode_field(bytes)).transpose()
    }

    /// Sets a field, if every live member reads it; returns false if one does not.
    /// A value that is there already stays then, because members that do not read
    /// it keep it.
    ///
    /// # Errors
    /// When the value cannot be encoded.
    pub fn set<T: Serialize>(
        &mut self,
        field: &Field<T>,
        value: &T,
        writes: FormatVersion,
    ) -> Result<bool, codec::Error> {
        if !field.is_read_by_all(writes) {
            return Ok(false);
        }
        self.0.insert(field.tag, codec::encode_field(value)?);
        Ok(true)
    }

    /// Removes a field.
    pub fn remove<T>(&mut self, field: &Field<T>) {
        self.0.remove(&field.tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of a minor version that does not exist.
    const COST_CENTRE: Field<String> = Field::new(1, FormatVersion::new(4, 1));
    const PRIORITY: Field<u32> = Field::new(2, FormatVersion::new(4, 2));

    #[test]
    fn a_field_is_written_when_every_live_member_reads_it() {
        let mut fields = Extensions::default();
        let value = "sales".to_owned();
        let old = FormatVersion::new(4, 0);
        assert!(!fields.set(&COST_CENTRE, &value, old).unwrap());
        assert_eq!(fields.get(&COST_CENTRE).unwrap(), None);
        let writes = FormatVersion::new(4, 1);
        assert!(fields.set(&COST_CENTRE, &value, writes).unwrap());
        assert!(!fields.set(&PRIORITY, &7, writes).unwrap());
        assert_eq!(fields.get(&COST_CENTRE).unwrap(), Some(value.clone()));
        assert_eq!(fields.get(&PRIORITY).unwrap(), None);
        // An earlier member has come back: nothing that is there is lost.
        assert!(!fields.set(&COST_CENTRE, &"other".to_owned(), old).unwrap());
        assert_eq!(fields.get(&COST_CENTRE).unwrap(), Some(value));
    }

    #[test]
    fn a_field_is_removed() {
        let mut fields = Extensions::default();
        assert!(fields.set(&PRIORITY, &7, FormatVersion::new(4, 2)).unwrap());
        assert!(!fields.is_empty());
        fields.remove(&PRIORITY);
        assert!(fields.is_empty());
    }

    #[test]
    fn bytes_of_another_type_are_refused() {
        let mut fields = Extensions::default();
        let writes = FormatVersion::new(4, 2);
        assert!(
            fields
                .set(&COST_CENTRE, &"sales".to_owned(), writes)
                .unwrap()
        );
        let same_tag: Field<u32> = Field::new(1, FormatVersion::new(4, 1));
        assert!(fields.get(&same_tag).is_err());
    }
}
