//! Permissions, and the roles that have them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The right to make a request. Each address of the service needs exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Reads operations, their histories, events and pauses.
    Read,
    /// Creates operations.
    Create,
    /// Cancels, pauses, resumes, postpones or changes one operation.
    Control,
    /// Does so to many, removes operations, sets and lifts pauses, and reads the audit.
    Operate,
    /// Sees workers, queues and the servers behind them.
    Fleet,
    /// Reads metrics, and the details of readiness.
    Metrics,
    /// Freezes the service, and thaws it.
    Freeze,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Create,
        Self::Control,
        Self::Operate,
        Self::Fleet,
        Self::Metrics,
        Self::Freeze,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    const fn of(list: &[Permission]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < list.len() {
            set |= list[at].bit();
            at += 1;
        }
        Self(set)
    }

    /// Every permission, for a service without authentication.
    pub const EVERY: Self = Self::of(&Permission::ALL);

    /// The permissions of a run: it reads its organization and creates children.
    pub(crate) const RUN: Self = Self::of(&[Permission::Read, Permission::Create]);

    /// Returns true if the permission is in the set.
    #[must_use]
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A role, as the file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees its organizations' operations and changes nothing.
    Reader,
    /// Creates operations, and controls single ones.
    Producer,
    /// Keeps the service going: everything but what an admin does.
    Operator,
    /// Everything.
    Admin,
    /// A program that watches: metrics, workers and queues, and no operation.
    Metrics,
}

impl Role {
    /// All of them, the least powerful first.
    pub const ALL: [Self; 5] = [
        Self::Metrics,
        Self::Reader,
        Self::Producer,
        Self::Operator,
        Self::Admin,
    ];

    /// The permissions of the role.
    #[must_use]
    pub const fn permissions(self) -> Permissions {
        use Permission::{Control, Create, Fleet, Metrics, Operate, Read};
        match self {
            Self::Reader => Permissions::of(&[Read]),
            Self::Producer => Permissions::of(&[Read, Create, Control]),
            Self::Operator => Permissions::of(&[Read, Create, Control, Operate, Fleet, Metrics]),
            Self::Admin => Permissions::EVERY,
            Self::Metrics => Permissions::of(&[Fleet, Metrics]),
        }
    }

    /// The name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Producer => "producer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_more_powerful_role_may_all_that_a_lesser_one_may() {
        let roles = [Role::Reader, Role::Producer, Role::Operator, Role::Admin];
        for pair in roles.windows(2) {
            let [less, more] = pair else { continue };
            let both = less.permissions().and(more.permissions());
            assert_eq!(both, more.permissions(), "{less} and {more}");
        }
    }

    #[test]
    fn only_an_admin_freezes() {
        for role in Role::ALL {
            let may = role.permissions().contains(Permission::Freeze);
            assert_eq!(may, role == Role::Admin, "{role}");
        }
    }

    #[test]
    fn a_program_that_watches_sees_no_operation() {
        let watching = Role::Metrics.permissions();
        assert!(watching.contains(Permission::Metrics));
        assert!(!watching.contains(Permission::Read));
    }
}
