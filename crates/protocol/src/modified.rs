//! The author of the last change of an operation, in its header.
//!
//! Most changes are those of the worker that holds the operation, or held it last.
//! The header has its name already, so that nothing is added for them.

use crate::extensions::Field;
use crate::history::Author;
use crate::operation::Header;
use crate::version::FormatVersion;

/// The author, if it is not the worker of [`Header::host_id`]. No release has written
/// a store without the field.
const MODIFIED_BY: Field<Author> = Field::new(1, FormatVersion::new(4, 0));

impl Header {
    /// Notes the author of the change that this header is the outcome of.
    pub fn sign(&mut self, author: &Author) {
        if self.is_worker(author) {
            self.extensions.remove(&MODIFIED_BY);
            return;
        }
        let writes = MODIFIED_BY.since();
        if self.extensions.set(&MODIFIED_BY, author, writes).is_err() {
            // Only a value over every limit cannot be written.
            self.extensions.remove(&MODIFIED_BY);
        }
    }

    /// The author of the last change; `None` if that is the creation.
    #[must_use]
    pub fn modified_by(&self) -> Option<Author> {
        let noted = self.extensions.get(&MODIFIED_BY).ok().flatten();
        noted.or_else(|| {
            let host = self.host_id.as_ref().filter(|_| self.version > 1)?;
            Some(Author::worker(host))
        })
    }

    fn is_worker(&self, author: &Author) -> bool {
        match author {
            Author::Worker(host) => self.host_id.as_ref() == Some(host),
            Author::Caller(_) | Author::Handler(_) | Author::Manager(_) | Author::Schedule(_) => {
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CommitId;
    use crate::operation::{Rules, first_header};
    use crate::time::Timestamp;

    fn header() -> Header {
        first_header(
            Rules::default(),
            None,
            CommitId(1),
            Timestamp::from_millis(1),
        )
    }

    #[test]
    fn the_worker_of_the_header_costs_nothing() {
        let mut header = header();
        assert_eq!(header.modified_by(), None, "it was created");
        header.host_id = Some("host:1".to_owned());
        assert_eq!(header.modified_by(), None, "no worker has changed it");
        header.version = 2;
        let ann = Author::Caller("ann".to_owned());
        header.sign(&ann);
        assert_eq!(header.modified_by(), Some(ann));
        assert!(!header.extensions.is_empty());
        header.host_id = Some("host:1".to_owned());
        let worker = Author::worker("host:1");
        header.sign(&worker);
        assert!(header.extensions.is_empty());
        assert_eq!(header.modified_by(), Some(worker));
        let other = Author::worker("host:2");
        header.sign(&other);
        assert_eq!(header.modified_by(), Some(other));
    }
}
