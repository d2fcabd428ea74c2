//! The parameters of an address: `?wait=30s`, and the filters of a list.

use std::collections::HashSet;
use std::time::Duration;

use drumline_backend::store::Filter;
use drumline_protocol::{
    ChainKey, DependencyToken, OperationId, OperationType, State, Status, Timestamp,
};

use crate::error::{Invalid, Wrong};
use crate::service::{Actor, BULK_SHARE, InvalidPlace, Place, Query};

/// Operations on a page if the request names no size.
const USUAL_PAGE: usize = 50;

/// The rule for the status of events.
const ENDS: &str = "must be Succeeded, Failed or Canceled: only ends are told";

/// The options of showing one operation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// The time to wait until it is Completed; `None`: not at all.
    pub(crate) wait: Option<Duration>,
    /// True if the answer says what it waits for.
    pub(crate) explain: bool,
}

/// Reads the options of showing one operation.
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

/// Reads the query of a listing.
pub(crate) fn list(
    pairs: Vec<(String, String)>,
    actor: &Actor,
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
        if let Err(why) = set(&mut query, &name, value, actor, longest) {
            wrong.push(Wrong::new(name, why));
        }
    }
    if wrong.is_empty() {
        Ok(query)
    } else {
        Err(Invalid::arguments(wrong))
    }
}

/// The operations to act on.
#[derive(Clone, Debug)]
pub(crate) struct BulkQuery {
    /// The filter, within the caller's own organization.
    pub(crate) query: Query,
    /// Only report what would be done.
    pub(crate) is_rehearsal: bool,
}

/// Reads the operations to act on. Stricter than [`list`]: a filter that is
/// missing by mistake does not show too much here, it acts on too much.
pub(crate) fn bulk(pairs: Vec<(String, String)>, actor: &Actor) -> Result<BulkQuery, Invalid> {
    let mut query = Query {
        limit: BULK_SHARE,
        ..Query::default()
    };
    let mut wrong = Vec::new();
    let (mut is_rehearsal, mut is_all) = (false, false);
    let mut names = HashSet::new();
    for (name, value) in pairs {
        let set = match name.as_str() {
            _ if !names.insert(name.clone()) => Err("is given twice".to_owned()),
            "dryRun" => read_truth(&value).map(|truth| is_rehearsal = truth),
            "all" => read_truth(&value).map(|truth| is_all = truth),
            // An empty variable in a script must not select everything.
            _ if value.is_empty() => Err("must not be empty".to_owned()),
            _ => set(&mut query, &name, value, actor, BULK_SHARE),
        };
        if let Err(why) = set {
            wrong.push(Wrong::new(name, why));
        }
    }
    if wrong.is_empty() && !is_all && query.filter == Filter::default() {
        let why = "is missing: name at least one, or say all=true";
        wrong.push(Wrong::new("filter", why));
    }
    query.filter.organization = Some(actor.organization.clone());
    if wrong.is_empty() {
        Ok(BulkQuery {
            query,
            is_rehearsal,
        })
    } else {
        Err(Invalid::arguments(wrong))
    }
}

/// The operations whose ends are reported.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventQuery {
    /// The filter, within the caller's own organization.
    pub(crate) filter: Filter,
    /// The place to begin at; `None`: from now on.
    pub(crate) place: Option<Place>,
}

/// Reads the operations whose ends are reported.
pub(crate) fn events(pairs: Vec<(String, String)>, actor: &Actor) -> Result<EventQuery, Invalid> {
    let mut query = Query::default();
    let mut place = None;
    let mut wrong = Vec::new();
    for (name, value) in pairs {
        let set = match name.as_str() {
            // An empty field of a form sends this: no condition.
            _ if value.is_empty() => Ok(()),
            "lastEventId" => match value.parse() {
                Ok(given) => {
                    place = Some(given);
                    Ok(())
                }
                Err(why) => Err(InvalidPlace::to_string(&why)),
            },
            "status" => {
                let set = set(&mut query, &name, value, actor, 1);
                // Another status would be waited for without end.
                let tells = query.filter.status.is_none_or(is_an_end);
                set.and_then(|()| tells.then_some(()).ok_or_else(|| ENDS.to_owned()))
            }
            "name" | "messageName" | "dependencyToken" | "correlationId" => {
                set(&mut query, &name, value, actor, 1)
            }
            _ => Err("is an unknown parameter".to_owned()),
        };
        if let Err(why) = set {
            wrong.push(Wrong::new(name, why));
        }
    }
    query.filter.organization = Some(actor.organization.clone());
    if wrong.is_empty() {
        Ok(EventQuery {
            filter: query.filter,
            place,
        })
    } else {
        Err(Invalid::arguments(wrong))
    }
}

fn is_an_end(status: Status) -> bool {
    status.state() == State::Completed
}

fn read_truth(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_not| "must be true or false".to_owned())
}

fn set(
    query: &mut Query,
    name: &str,
    value: String,
    actor: &Actor,
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
                created_before,
                completed_before,
                correlation_id,
                holding,
                // The caller cannot choose this.
                organization: _,
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
            *chain = Some(ChainKey::new(&actor.organization, &token));
        }
        "createdAfter" => *created_after = Some(read_time(&value)?),
        "createdBefore" => *created_before = Some(read_time(&value)?),
        "completedBefore" => *completed_before = Some(read_time(&value)?),
        "correlationId" => {
            *correlation_id = Some(value.parse().map_err(|_not| "must be a UUID")?);
        }
        "holdsToken" => *holding = Some(read_truth(&value)?),
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

fn read_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).map_err(|error| format!("is {error}"))
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
