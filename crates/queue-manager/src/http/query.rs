//! The parameters of an address: `?wait=30s`, and the filters of a list.

use std::time::Duration;

use drumline_backend::store::Filter;
use drumline_protocol::{
    ChainKey, DependencyToken, OperationId, OperationType, State, Status, Timestamp,
};

use crate::error::{Invalid, Wrong};
use crate::manager::{Caller, Query};

/// Operations on a page whose size nobody has said.
const USUAL_PAGE: usize = 50;

/// How to show one operation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// How long to wait until it is Completed; `None`: not at all.
    pub(crate) wait: Option<Duration>,
    /// Whether to say what it waits for.
    pub(crate) explain: bool,
}

/// How to show one operation.
pub(crate) fn look(pairs: Vec<(String, String)>) -> Result<Look, Invalid> {
    let mut look = Look::default();
    let mut wrong = Vec::new();
    for (name, value) in pairs {
        match name.as_str() {
            "wait" => {
                // Bare numbers are seconds, as in Retry-After.
                let parsed = value.parse().ok().map(Duration::from_secs);
                look.wait = parsed.or_else(|| humantime::parse_duration(&value).ok());
                if look.wait.is_none() {
                    wrong.push(Wrong::new(name, "must be a time span, as 30s or 1m"));
                }
            }
            "explain" => match value.as_str() {
                "" | "true" => look.explain = true,
                "false" => look.explain = false,
                _ => wrong.push(Wrong::new(name, "must be true or false")),
            },
            _ => wrong.push(Wrong::new(name, "is an unknown parameter")),
        }
    }
    if wrong.is_empty() {
        Ok(look)
    } else {
        Err(Invalid::arguments(wrong))
    }
}

/// What to list.
pub(crate) fn list(
    pairs: Vec<(String, String)>,
    caller: &Caller,
    longest: usize,
) -> Result<Query, Invalid> {
    let mut query = Query {
        limit: USUAL_PAGE.min(longest),
        ..Query::default()
    };
    let mut wrong = Vec::new();
    for (name, value) in pairs {
        // `?state=` is what an empty field of a form sends: no condition.
        if value.is_empty() && name != "dependencyToken" && name != "name" {
            continue;
        }
        if let Err(why) = set(&mut query, &name, value, caller, longest) {
            wrong.push(Wrong::new(name, why));
        }
    }
    if wrong.is_empty() {
        Ok(query)
    } else {
        Err(Invalid::arguments(wrong))
    }
}

fn set(
    query: &mut Query,
    name: &str,
    value: String,
    caller: &Caller,
    longest: usize,
) -> Result<(), String> {
    let Query {
        filter:
            Filter {
                name: by_name,
                state,
                status,
                message_name,
                operation_type,
                chain,
                created_after,
                correlation_id,
            },
        cursor,
        limit,
    } = query;
    match name {
        "name" => *by_name = Some(value),
        "state" => {
            let found = read_state(&value);
            *state = Some(found.ok_or("must be 0 to 3, or Ready, Suspended, Locked, Completed")?);
        }
        "status" => {
            let found = read_status(&value);
            *status = Some(found.ok_or("must be a status code or its name, as 20 or InProgress")?);
        }
        "messageName" => *message_name = Some(value),
        "operationType" => {
            let number = value.parse().map_err(|_not| "must be a number")?;
            *operation_type = Some(OperationType(number));
        }
        "dependencyToken" => {
            let token = DependencyToken::try_from(value).map_err(|error| error.to_string())?;
            *chain = Some(ChainKey::new(&caller.organization, &token));
        }
        "createdAfter" => {
            let time = Timestamp::parse_rfc3339(&value);
            *created_after = Some(time.map_err(|error| format!("is {error}"))?);
        }
        "correlationId" => {
            *correlation_id = Some(value.parse().map_err(|_not| "must be a UUID")?);
        }
        "cursor" => {
            let place: Result<OperationId, _> = value.parse();
            *cursor = Some(place.map_err(|_not| "must be a nextCursor of an earlier answer")?);
        }
        "limit" => {
            let number: Option<usize> = value.parse().ok();
            let number = number.filter(|number| (1..=longest).contains(number));
            *limit = number.ok_or_else(|| format!("must be a number from 1 to {longest}"))?;
        }
        _ => return Err("is an unknown parameter".to_owned()),
    }
    Ok(())
}

fn read_state(text: &str) -> Option<State> {
    let by_code = text.parse().ok().and_then(State::from_code);
    by_code.or_else(|| {
        let mut all = State::ALL.into_iter();
        all.find(|state| state.name().eq_ignore_ascii_case(text))
    })
}

fn read_status(text: &str) -> Option<Status> {
    let by_code = text.parse().ok().and_then(Status::from_code);
    by_code.or_else(|| {
        let mut all = Status::ALL.into_iter();
        all.find(|status| status.name().eq_ignore_ascii_case(text))
    })
}
