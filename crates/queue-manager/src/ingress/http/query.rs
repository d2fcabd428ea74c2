//! The parameters of an address: `?wait=30s`, and the filters of a list.

use std::time::Duration;

use drumline_api::{FieldError, Invalid, ListFilter};
use drumline_backend::membership::MemberPlace;
use drumline_backend::store::Filter;
use drumline_protocol::{ActionId, OperationId, State, Status};

use crate::service::{Actor, BULK_SHARE, Cursor, InvalidCursor, Query, selection};

/// Operations on a page if the request names no size.
const USUAL_PAGE: usize = 50;

/// The most actions on many operations on a page.
const ACTIONS_PAGE: usize = 100;

/// The rule for a cursor.
pub(super) const NOT_A_CURSOR: &str = "must be a nextCursor of an earlier answer";
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
    let mut errors = Vec::new();
    for (name, value) in pairs {
        match name.as_str() {
            "wait" => {
                // Bare numbers are seconds, as in Retry-After.
                let parsed = value.parse().ok().map(Duration::from_secs);
                look.wait = parsed.or_else(|| humantime::parse_duration(&value).ok());
                if look.wait.is_none() {
                    errors.push(FieldError::new(name, "must be a time span, as 30s or 1m"));
                }
            }
            "explain" => match value.as_str() {
                "" | "true" => look.explain = true,
                "false" => look.explain = false,
                _ => errors.push(FieldError::new(name, "must be true or false")),
            },
            _ => errors.push(FieldError::new(name, "is an unknown parameter")),
        }
    }
    if errors.is_empty() {
        Ok(look)
    } else {
        Err(Invalid::arguments(errors))
    }
}

/// A page to show of a list without conditions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageQuery<P> {
    /// The place that the page begins behind; `None` for the first page.
    pub(crate) cursor: Option<P>,
    /// The most entries on the page.
    pub(crate) limit: usize,
}

/// Reads the page of live members to show.
pub(crate) fn members(
    pairs: Vec<(String, String)>,
    longest: usize,
) -> Result<PageQuery<MemberPlace>, Invalid> {
    let place = |text: &str| text.parse().ok().map(MemberPlace);
    read_page(pairs, longest, longest, place)
}

/// Reads the actions on many operations to show: those that are older than the cursor.
pub(crate) fn actions(pairs: Vec<(String, String)>) -> Result<PageQuery<ActionId>, Invalid> {
    read_page(pairs, USUAL_PAGE, ACTIONS_PAGE, |text| text.parse().ok())
}

fn read_page<P>(
    pairs: Vec<(String, String)>,
    usual: usize,
    longest: usize,
    place: impl Fn(&str) -> Option<P>,
) -> Result<PageQuery<P>, Invalid> {
    let mut query = PageQuery {
        cursor: None,
        limit: usual,
    };
    let mut errors = Vec::new();
    for (name, value) in pairs {
        let set = match name.as_str() {
            _ if value.is_empty() => Ok(()),
            "cursor" => match place(&value) {
                Some(place) => {
                    query.cursor = Some(place);
                    Ok(())
                }
                None => Err(NOT_A_CURSOR.to_owned()),
            },
            "limit" => read_limit(&value, longest).map(|limit| query.limit = limit),
            _ => Err("is an unknown parameter".to_owned()),
        };
        if let Err(why) = set {
            errors.push(FieldError::new(name, why));
        }
    }
    if errors.is_empty() {
        Ok(query)
    } else {
        Err(Invalid::arguments(errors))
    }
}

pub(super) fn read_limit(value: &str, longest: usize) -> Result<usize, String> {
    let number: Option<usize> = value.parse().ok();
    let number = number.filter(|number| (1..=longest).contains(number));
    number.ok_or_else(|| format!("must be a number from 1 to {longest}"))
}

/// Conditions, and the page to show of what they select.
struct Listed {
    filter: ListFilter,
    cursor: Option<OperationId>,
    limit: usize,
}

impl Listed {
    fn new(limit: usize) -> Self {
        Self {
            filter: ListFilter::default(),
            cursor: None,
            limit,
        }
    }

    /// Takes one parameter.
    fn set(&mut self, name: &str, value: String, longest: usize) -> Result<(), String> {
        match name {
            "cursor" => {
                let place: Result<OperationId, _> = value.parse();
                let place = place.map_err(|_not| NOT_A_CURSOR)?;
                self.cursor = Some(place);
            }
            "limit" => self.limit = read_limit(&value, longest)?,
            _ if self.filter.set(name, value)? => {}
            _ => return Err("is an unknown parameter".to_owned()),
        }
        Ok(())
    }

    /// The query, within the caller's own organization.
    fn query(self, actor: &Actor) -> Query {
        Query {
            filter: selection(self.filter, &actor.organization),
            cursor: self.cursor,
            limit: self.limit,
        }
    }
}

/// Reads the query of a listing.
pub(crate) fn list(
    pairs: Vec<(String, String)>,
    actor: &Actor,
    longest: usize,
) -> Result<Query, Invalid> {
    let mut listed = Listed::new(USUAL_PAGE.min(longest));
    let mut errors = Vec::new();
    for (name, value) in pairs {
        // `?state=` is what an empty field of a form sends: no condition.
        if value.is_empty() && name != "dependencyToken" && name != "name" {
            continue;
        }
        if let Err(why) = listed.set(&name, value, longest) {
            errors.push(FieldError::new(name, why));
        }
    }
    if errors.is_empty() {
        Ok(listed.query(actor))
    } else {
        Err(Invalid::arguments(errors))
    }
}

/// Takes out whether a listing is to leave out data and results.
pub(crate) fn take_summary(pairs: &mut Vec<(String, String)>) -> Result<bool, Invalid> {
    let Some(place) = pairs.iter().position(|(name, _)| name == "summary") else {
        return Ok(false);
    };
    let (name, value) = pairs.remove(place);
    let read = read_truth(&value);
    read.map_err(|why| Invalid::from(FieldError::new(name, why)))
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
    let mut listed = Listed::new(BULK_SHARE);
    let mut errors = Vec::new();
    let (mut is_rehearsal, mut is_all) = (false, false);
    for (name, value) in pairs {
        let set = match name.as_str() {
            "dryRun" => read_truth(&value).map(|truth| is_rehearsal = truth),
            "all" => read_truth(&value).map(|truth| is_all = truth),
            // An empty variable in a script must not select everything.
            _ if value.is_empty() => Err("must not be empty".to_owned()),
            _ => listed.set(&name, value, BULK_SHARE),
        };
        if let Err(why) = set {
            errors.push(FieldError::new(name, why));
        }
    }
    if errors.is_empty() && !is_all && listed.filter == ListFilter::default() {
        let why = "is missing: name at least one, or say all=true";
        errors.push(FieldError::new("filter", why));
    }
    if errors.is_empty() {
        Ok(BulkQuery {
            query: listed.query(actor),
            is_rehearsal,
        })
    } else {
        Err(Invalid::arguments(errors))
    }
}

/// The operations whose ends are reported.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventQuery {
    /// The filter, within the caller's own organization.
    pub(crate) filter: Filter,
    /// The cursor to begin at; `None`: from now on.
    pub(crate) cursor: Option<Cursor>,
}

/// Reads the operations whose ends are reported.
pub(crate) fn events(pairs: Vec<(String, String)>, actor: &Actor) -> Result<EventQuery, Invalid> {
    let mut listed = Listed::new(1);
    let mut cursor = None;
    let mut errors = Vec::new();
    for (name, value) in pairs {
        let set = match name.as_str() {
            // An empty field of a form sends this: no condition.
            _ if value.is_empty() => Ok(()),
            "lastEventId" => match value.parse() {
                Ok(given) => {
                    cursor = Some(given);
                    Ok(())
                }
                Err(why) => Err(InvalidCursor::to_string(&why)),
            },
            "status" => {
                let set = listed.set(&name, value, 1);
                // Another status would be waited for without end.
                let tells = listed.filter.status.is_none_or(is_an_end);
                set.and_then(|()| tells.then_some(()).ok_or_else(|| ENDS.to_owned()))
            }
            _ if ListFilter::is_of_events(&name) => listed.set(&name, value, 1),
            _ => Err("is an unknown parameter".to_owned()),
        };
        if let Err(why) = set {
            errors.push(FieldError::new(name, why));
        }
    }
    if errors.is_empty() {
        Ok(EventQuery {
            filter: listed.query(actor).filter,
            cursor,
        })
    } else {
        Err(Invalid::arguments(errors))
    }
}

fn is_an_end(status: Status) -> bool {
    status.state() == State::Completed
}

fn read_truth(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_not| "must be true or false".to_owned())
}
