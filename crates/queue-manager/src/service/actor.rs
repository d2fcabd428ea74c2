//! The author of a call.

use drumline_auth::ActsAs;
use drumline_protocol::{Author, Organization};

/// The owner of operations that an anonymous caller creates.
const ANONYMOUS: &str = "anonymous";

/// The author of a call: the caller, and the tenant that it acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The tenant: tokens and idempotency keys of different tenants never meet.
    pub organization: Organization,
    /// The name of the caller, as `ownerId` shows it.
    pub caller: String,
}

impl From<ActsAs> for Actor {
    fn from(acts_as: ActsAs) -> Self {
        Self {
            organization: acts_as.organization,
            caller: acts_as.caller,
        }
    }
}

impl Default for Actor {
    /// The actor of a caller that did not identify itself.
    fn default() -> Self {
        Self {
            organization: Organization::default(),
            caller: ANONYMOUS.to_owned(),
        }
    }
}

impl Actor {
    /// Returns true if the caller did not identify itself.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.caller == ANONYMOUS
    }

    /// The author of the caller's commits.
    #[must_use]
    pub fn author(&self) -> Author {
        Author::Caller(self.caller.clone())
    }
}
