//! `StateCode` and `StatusCode`, with the numbers of the Dynamics service.

use serde::{Deserialize, Serialize};

/// The stage of an operation, in four words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Waits for a worker, or for its predecessors.
    Ready,
    /// Waits for a time or for a person.
    Suspended,
    /// A worker holds it.
    Locked,
    /// The operation is over, one way or another.
    Completed,
}

impl State {
    /// All four, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Suspended, Self::Locked, Self::Completed];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Suspended => 1,
            Self::Locked => 2,
            Self::Completed => 3,
        }
    }

    /// The state with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The word people use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Suspended => "Suspended",
            Self::Locked => "Locked",
            Self::Completed => "Completed",
        }
    }
}

/// The exact stage of an operation. The state follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Status {
    /// Ready. Entered by create, resume, due, an expired lease, a drained
    /// worker; left by claim, pause, postpone, throttle, cancel.
    WaitingForResources,
    /// Suspended. Entered by pause, postpone, throttle, retry, suspend; left by
    /// resume, its due time, cancel. A series stays here from its creation to
    /// its end.
    Waiting,
    /// Locked: a handler runs. Entered by claim only.
    InProgress,
    /// Locked: the handler has been asked to stop and to let the operation wait.
    Pausing,
    /// Locked: the handler has been asked to stop for good.
    Canceling,
    /// Completed: the handler succeeded, or a series has had its last time.
    /// Left by delete and retention only.
    Succeeded,
    /// Completed: the handler failed, or its retries are used up. A Failed
    /// operation may hold its chain until it is resumed; before that it cannot
    /// be deleted.
    Failed,
    /// Completed: a client cancelled it. A Canceled operation may hold its
    /// chain, as above.
    Canceled,
}

impl Status {
    /// All eight, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::WaitingForResources,
        Self::Waiting,
        Self::InProgress,
        Self::Pausing,
        Self::Canceling,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
    ];

    /// The state that this status belongs to.
    #[must_use]
    pub const fn state(self) -> State {
        match self {
            Self::WaitingForResources => State::Ready,
            Self::Waiting => State::Suspended,
            Self::InProgress | Self::Pausing | Self::Canceling => State::Locked,
            Self::Succeeded | Self::Failed | Self::Canceled => State::Completed,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::WaitingForResources => 0,
            Self::Waiting => 10,
            Self::InProgress => 20,
            Self::Pausing => 21,
            Self::Canceling => 22,
            Self::Succeeded => 30,
            Self::Failed => 31,
            Self::Canceled => 32,
        }
    }

    /// The status with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// The word people use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WaitingForResources => "WaitingForResources",
            Self::Waiting => "Waiting",
            Self::InProgress => "InProgress",
            Self::Pausing => "Pausing",
            Self::Canceling => "Canceling",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }
}

impl From<Status> for u8 {
    fn from(status: Status) -> Self {
        status.code()
    }
}

/// No status has this number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a status code")]
pub struct UnknownStatus(pub u8);

impl TryFrom<u8> for Status {
    type Error = UnknownStatus;

    fn try_from(code: u8) -> Result<Self, UnknownStatus> {
        Self::from_code(code).ok_or(UnknownStatus(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_stay_as_the_service_has_them() {
        let states = [
            (0, "Ready"),
            (1, "Suspended"),
            (2, "Locked"),
            (3, "Completed"),
        ];
        assert_eq!(State::ALL.map(|state| (state.code(), state.name())), states);
        for state in State::ALL {
            assert_eq!(State::from_code(state.code()), Some(state));
        }
        assert_eq!(State::from_code(4), None);
        let statuses = [
            (0, "WaitingForResources"),
            (10, "Waiting"),
            (20, "InProgress"),
            (21, "Pausing"),
            (22, "Canceling"),
            (30, "Succeeded"),
            (31, "Failed"),
            (32, "Canceled"),
        ];
        assert_eq!(
            Status::ALL.map(|status| (status.code(), status.name())),
            statuses
        );
        for status in Status::ALL {
            assert_eq!(Status::try_from(u8::from(status)), Ok(status));
        }
        assert_eq!(Status::try_from(1), Err(UnknownStatus(1)));
    }
}
