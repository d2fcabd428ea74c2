//! The conditions of a listing: the same names in an address and in the JSON of
//! `RetrieveMultiple`.

use drumline_protocol::{DependencyToken, OperationType, State, Status, Timestamp, limits};
use uuid::Uuid;

use crate::fields::Fields;

/// The conditions on operations; several conditions must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Exactly this name.
    pub name: Option<String>,
    /// This state.
    pub state: Option<State>,
    /// This status.
    pub status: Option<Status>,
    /// Exactly this message name.
    pub message_name: Option<String>,
    /// This operation type.
    pub operation_type: Option<OperationType>,
    /// Exactly this token.
    pub dependency_token: Option<DependencyToken>,
    /// Created after this time.
    pub created_after: Option<Timestamp>,
    /// Created before this time.
    pub created_before: Option<Timestamp>,
    /// Completed before this time.
    pub completed_before: Option<Timestamp>,
    /// With this correlation id.
    pub correlation_id: Option<Uuid>,
    /// True: the operation holds its chain.
    pub holds_token: Option<bool>,
}

impl ListFilter {
    /// Takes the conditions in the JSON of `RetrieveMultiple`, which has no
    /// `holdsToken`.
    pub(crate) fn take(given: &mut Fields<'_>) -> Self {
        let by_name = |code: Option<u8>, word: &str| {
            code.and_then(State::from_code)
                .or_else(|| state_of_name(word))
        };
        let filter = Self {
            name: given.text("name", limits::NAME_CHARS),
            state: given.named("state", STATE, by_name),
            status: given.named("status", STATUS, |code, word| {
                code.and_then(Status::from_code)
                    .or_else(|| status_of_name(word))
            }),
            message_name: given.text("messageName", limits::MESSAGE_NAME_CHARS),
            operation_type: given
                .number("operationType", "from 0 to 4294967295")
                .map(OperationType),
            dependency_token: given.parsed("dependencyToken", token),
            created_after: given.time("createdAfter"),
            created_before: given.time("createdBefore"),
            completed_before: given.time("completedBefore"),
            correlation_id: given.uuid("correlationId"),
            holds_token: None,
        };
        given.refuse_rest(|_name| "is unknown");
        filter
    }

    /// Adds the condition that a parameter of an address has. Returns false if
    /// there is no condition of this name.
    ///
    /// # Errors
    /// The rule that the value breaks, as a clause about it.
    pub fn set(&mut self, name: &str, value: String) -> Result<bool, String> {
        match name {
            "name" => self.name = Some(value),
            "state" => {
                let found = value.parse().ok().and_then(State::from_code);
                let found = found.or_else(|| state_of_name(&value));
                self.state = Some(found.ok_or(STATE)?);
            }
            "status" => {
                let found = value.parse().ok().and_then(Status::from_code);
                let found = found.or_else(|| status_of_name(&value));
                self.status = Some(found.ok_or(STATUS)?);
            }
            "messageName" => self.message_name = Some(value),
            "operationType" => {
                let number = value.parse().map_err(|_not| "must be a number")?;
                self.operation_type = Some(OperationType(number));
            }
            "dependencyToken" => self.dependency_token = Some(token(value)?),
            "createdAfter" => self.created_after = Some(time(&value)?),
            "createdBefore" => self.created_before = Some(time(&value)?),
            "completedBefore" => self.completed_before = Some(time(&value)?),
            "correlationId" => {
                self.correlation_id = Some(value.parse().map_err(|_not| "must be a UUID")?);
            }
            "holdsToken" => {
                let truth = value.parse().map_err(|_not| "must be true or false")?;
                self.holds_token = Some(truth);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

const STATE: &str = "must be 0 to 3, or Ready, Suspended, Locked, Completed";
const STATUS: &str = "must be a status code or its name, as 20 or InProgress";

fn state_of_name(word: &str) -> Option<State> {
    let mut all = State::ALL.into_iter();
    all.find(|state| state.name().eq_ignore_ascii_case(word))
}

fn status_of_name(word: &str) -> Option<Status> {
    let mut all = Status::ALL.into_iter();
    all.find(|status| status.name().eq_ignore_ascii_case(word))
}

fn token(text: String) -> Result<DependencyToken, String> {
    DependencyToken::try_from(text).map_err(|error| error.to_string())
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).map_err(|error| format!("is {error}"))
}
