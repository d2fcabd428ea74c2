//! The news of failures: how many there were within the last hour, and of which kind.
//!
//! Two sources know some of it. The list of the newest operations is exact and short. The
//! failure groups know all numbers, some seconds late. The list does not tell which of
//! its operations are muted, so it has no say while a muted group fails.

use std::cmp::Ordering;

use drumline_protocol::Timestamp;
use drumline_protocol::text::grouped;

use super::OwnState;
use super::verdict::{Finding, Place};
use crate::service::Failing;
use crate::service::failures::Heard;

/// The span within which a failure is news.
const NEWS_MS: i64 = 3_600_000;

/// A number of failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct News {
    count: u64,
    /// True if there may be more.
    is_partial: bool,
}

/// Finds out whether something has failed within the last hour that is not muted.
pub(super) fn of_failures(own: &OwnState, now: Timestamp) -> Option<Finding> {
    let is_news = |at: Timestamp| now.as_millis().saturating_sub(at.as_millis()) < NEWS_MS;
    let fresh = own.heard.groups.iter();
    let fresh = fresh.filter(|one| is_news(one.group.last));
    let fresh: Vec<&Failing> = fresh.collect();
    let counted = counted(&own.heard, &fresh, is_news);
    let is_muted_one_news = own.heard.muted_last.is_some_and(is_news);
    let news = if is_muted_one_news {
        counted
    } else {
        listed(own, is_news).or(counted)
    };
    let more = if news.is_partial { "at least " } else { "" };
    let words = match news.count {
        0 => return None,
        1 => format!("{more}one operation failed within the last hour"),
        count => {
            let count = grouped(count);
            format!("{more}{count} operations failed within the last hour")
        }
    };
    Some(match fresh.as_slice() {
        [] => {
            let all = Place::Operations(vec![("status", "Failed".to_owned())]);
            Finding::new(&words, "").at("failures", all)
        }
        // All of them are of one kind.
        [only] if news == counted => {
            let words = format!("{words}: {}", kind(only));
            Finding::new(&words, "").at("the latest", Place::Operation(only.group.sample))
        }
        _ => Finding::new(&words, "").at("failures by kind", Place::Failures),
    })
}

/// The number in the list of the newest operations that failed.
fn listed(own: &OwnState, is_news: impl Fn(Timestamp) -> bool) -> News {
    let failures = &own.failures;
    let ended = failures.operations.iter();
    let ended = ended.filter_map(|one| one.header.completed_on);
    let count = ended.filter(|at| is_news(*at)).count();
    News {
        count: u64::try_from(count).unwrap_or(u64::MAX),
        is_partial: failures.next.is_some() && count == failures.operations.len(),
    }
}

/// The number that groups have counted.
fn counted(heard: &Heard, fresh: &[&Failing], is_news: impl Fn(Timestamp) -> bool) -> News {
    let mut news = News {
        count: 0,
        is_partial: heard.has_more && fresh.len() == heard.groups.len(),
    };
    for failing in fresh {
        let group = &failing.group;
        if is_news(group.first) {
            news.count = news.count.saturating_add(group.count);
        } else {
            // Of an older group the last failure is known to be news.
            news.count = news.count.saturating_add(1);
            news.is_partial = true;
        }
    }
    news
}

fn kind(failing: &Failing) -> String {
    let group = &failing.group;
    let code = group.code.name();
    let code = code.map_or_else(|| group.code.to_string(), str::to_owned);
    match group.pattern.trim() {
        "" => format!("{}, {code}", group.message_name),
        pattern => format!("{}, {code}, {pattern}", group.message_name),
    }
}

impl News {
    /// The better of two numbers of the same failures.
    fn or(self, other: Self) -> Self {
        match self.count.cmp(&other.count) {
            Ordering::Greater => self,
            Ordering::Less => other,
            Ordering::Equal => Self {
                count: self.count,
                is_partial: self.is_partial && other.is_partial,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use drumline_backend::store::{FAILURE_HOURS, FailureGroup, Page, Summary};
    use drumline_protocol::operation::first_header;
    use drumline_protocol::{
        Body, CommitId, ErrorCode, FailureKey, OperationId, Partition, Rules, Status,
    };

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    const fn ago(minutes: i64) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000 - minutes * 60_000)
    }

    fn id() -> OperationId {
        OperationId::new(NOW, Partition::new(0), [1; 16])
    }

    fn group(count: u64, first: Timestamp, last: Timestamp) -> Failing {
        Failing {
            group: FailureGroup {
                key: FailureKey(count),
                message_name: "Import".to_owned(),
                code: ErrorCode::NETWORK_ERROR,
                pattern: "row #".to_owned(),
                count,
                first,
                last,
                sample: id(),
            },
            hours: [0; FAILURE_HOURS],
            mute: None,
        }
    }

    fn failed(on: Timestamp) -> Summary {
        let mut header = first_header(Rules::default(), None, CommitId(1), NOW);
        header.status = Status::Failed;
        header.completed_on = Some(on);
        Summary {
            id: id(),
            header,
            body: Body::new("SendMail", NOW),
            sequence: 1,
        }
    }

    fn own(listed: Vec<Summary>, groups: Vec<Failing>) -> OwnState {
        OwnState {
            pauses: Vec::new(),
            holding: Page::default(),
            failures: Page {
                next: None,
                operations: listed,
            },
            heard: Heard {
                groups,
                has_more: false,
                muted_last: None,
            },
        }
    }

    fn said(own: &OwnState) -> Option<(String, Place)> {
        let found = of_failures(own, NOW)?;
        Some((found.sentence, found.place.expect("a place").1))
    }

    #[test]
    fn failures_of_one_kind_are_named_and_counted() {
        let state = own(vec![failed(ago(1)); 2], vec![group(41, ago(50), ago(1))]);
        let expected = "41 operations failed within the last hour: Import, NetworkError, row #.";
        let latest = Place::Operation(id());
        assert_eq!(said(&state), Some((expected.to_owned(), latest)));
    }

    #[test]
    fn of_an_older_kind_one_failure_is_known() {
        let state = own(Vec::new(), vec![group(41, ago(90), ago(1))]);
        let (sentence, _) = said(&state).unwrap();
        assert!(
            sentence.starts_with("At least one operation failed within the last hour: Import"),
            "{sentence}"
        );
        let old = own(Vec::new(), vec![group(41, ago(90), ago(61))]);
        assert_eq!(said(&old), None);
    }

    #[test]
    fn several_kinds_lead_to_their_list() {
        let groups = vec![group(2, ago(9), ago(1)), group(3, ago(9), ago(2))];
        let expected = "5 operations failed within the last hour.".to_owned();
        let state = own(vec![failed(ago(1))], groups);
        assert_eq!(said(&state), Some((expected, Place::Failures)));
    }

    #[test]
    fn a_failure_that_is_not_counted_yet_is_news() {
        let expected = "2 operations failed within the last hour.";
        let failures = Place::Operations(vec![("status", "Failed".to_owned())]);
        let state = own(vec![failed(ago(1)); 2], Vec::new());
        assert_eq!(said(&state), Some((expected.to_owned(), failures)));
        // The kind of the second one is not known yet.
        let state = own(vec![failed(ago(1)); 2], vec![group(1, ago(1), ago(1))]);
        assert_eq!(said(&state), Some((expected.to_owned(), Place::Failures)));
    }

    #[test]
    fn the_list_has_no_say_while_a_muted_kind_fails() {
        let muted = |last| {
            let mut state = own(vec![failed(ago(1)); 2], Vec::new());
            state.heard.muted_last = Some(last);
            state
        };
        assert_eq!(said(&muted(ago(1))), None);
        // The muted kind has not failed for long: the failures are of another one.
        assert!(said(&muted(ago(61))).is_some());
        let mut state = muted(ago(1));
        state.heard.groups = vec![group(1, ago(1), ago(1))];
        let (sentence, _) = said(&state).unwrap();
        assert!(sentence.starts_with("One operation failed"), "{sentence}");
    }
}
