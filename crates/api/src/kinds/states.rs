//! States and statuses: by their numbers where they are changed, by numbers and
//! names where they are looked for.

use drumline_protocol::{State, Status};
use serde_json::{Value, json};

use super::{Condition, Kind};
use crate::fields::Fields;
use crate::schema::Form;

/// A state by its number or its name.
pub(crate) struct StateWord;

impl StateWord {
    const WHY: &str = "must be 0 to 3, or Ready, Suspended, Locked, Completed";

    fn find(code: Option<u8>, word: &str) -> Option<State> {
        let mut all = State::ALL.into_iter();
        code.and_then(State::from_code)
            .or_else(|| all.find(|state| state.name().eq_ignore_ascii_case(word)))
    }
}

impl Form for StateWord {
    fn schema() -> Value {
        json!({"type": "string", "example": "Ready"})
    }
}

impl Kind for StateWord {
    type Value = State;
    type Draft = State;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<State> {
        given.named(name, Self::WHY, Self::find)
    }
}

impl Condition for StateWord {
    fn parse(text: String) -> Result<State, String> {
        let found = Self::find(text.parse().ok(), &text);
        found.ok_or_else(|| Self::WHY.to_owned())
    }
}

/// A status by its number or its name.
pub(crate) struct StatusWord;

impl StatusWord {
    const WHY: &str = "must be a status code or its name, as 20 or InProgress";

    fn find(code: Option<u8>, word: &str) -> Option<Status> {
        let mut all = Status::ALL.into_iter();
        code.and_then(Status::from_code)
            .or_else(|| all.find(|status| status.name().eq_ignore_ascii_case(word)))
    }
}

impl Form for StatusWord {
    fn schema() -> Value {
        json!({"type": "string", "example": "Failed"})
    }
}

impl Kind for StatusWord {
    type Value = Status;
    type Draft = Status;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<Status> {
        given.named(name, Self::WHY, Self::find)
    }
}

impl Condition for StatusWord {
    fn parse(text: String) -> Result<Status, String> {
        let found = Self::find(text.parse().ok(), &text);
        found.ok_or_else(|| Self::WHY.to_owned())
    }
}

/// The number of a state.
pub(crate) struct StateCode;

impl Form for StateCode {
    fn schema() -> Value {
        u8::schema()
    }
}

impl Kind for StateCode {
    type Value = State;
    type Draft = State;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<State> {
        given.coded(name, "must be 0, 1, 2 or 3", State::from_code)
    }
}

/// The number of a status.
pub(crate) struct StatusCode;

impl Form for StatusCode {
    fn schema() -> Value {
        u8::schema()
    }
}

impl Kind for StatusCode {
    type Value = Status;
    type Draft = Status;

    fn take(given: &mut Fields<'_>, name: &str) -> Option<Status> {
        let why = "must be 0, 10, 20, 21, 22, 30, 31 or 32";
        given.coded(name, why, Status::from_code)
    }
}
