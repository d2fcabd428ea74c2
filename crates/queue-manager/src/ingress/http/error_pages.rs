//! The pages about errors, served where a problem's `type` points to.
//!
//! They are the files in docs/errors, built in. So a client reads the pages of
//! the release that answers it.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use drumline_protocol::ErrorCode;

use super::problem::Answer;
use crate::ingress::problem::Problem;

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every page.
        pub(crate) const PAGES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../../../docs/errors/", $name, ".md")))),*
        ];
    };
}

pages! {
    "AttributeIsReadOnly",
    "CannotCancel",
    "CannotDeleteUnlessCompleted",
    "CannotPause",
    "CannotUpdateNonrecurring",
    "CannotUpdateRecurring",
    "CommunicationError",
    "CrossSiteRequest",
    "DatabaseError",
    "Expired",
    "HandlerFailed",
    "HandlerTimeout",
    "HttpsRequired",
    "IdempotencyKeyReused",
    "InfiniteLoop",
    "InternalError",
    "InvalidArgument",
    "InvalidChangeToCompleted",
    "InvalidChangeToReady",
    "InvalidChangeToSuspended",
    "InvalidStateChange",
    "MalformedJson",
    "MissingId",
    "NetworkError",
    "NoHandler",
    "NoSuchResource",
    "ObjectDoesNotExist",
    "OperationTypeNotRecognized",
    "OrganizationDisabled",
    "PostponedByThrottle",
    "PrivilegeDenied",
    "QueueUnusable",
    "QuotaExceeded",
    "RequestTooLarge",
    "ServerBusy",
    "StateChangedByAnotherProcess",
    "TooManyConcurrentRequests",
    "TooManyQueues",
    "TooManyRequests",
    "TooMuchExecutionTime",
    "TransactionSpread",
    "TypeThrottled",
    "Unauthenticated",
    "WorkerLost",
}

/// One page.
pub(crate) async fn page(page: Result<Path<String>, PathRejection>, uri: Uri) -> Answer<Response> {
    // What is not UTF-8 is no name of ours.
    let page = page.map_or_else(|_not_text| String::new(), |Path(page)| page);
    let name = page.strip_suffix(".md").unwrap_or(&page);
    let found = PAGES.iter().find(|(other, _)| *other == name);
    let Some((_, text)) = found else {
        let detail = format!("there is nothing at {}", uri.path());
        return Err(Problem::new(StatusCode::NOT_FOUND, ErrorCode::NO_ROUTE, detail).into());
    };
    Ok(([(CONTENT_TYPE, "text/markdown; charset=utf-8")], *text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_that_names_it() {
        for code in ErrorCode::ALL {
            let name = code.name().unwrap();
            let page = PAGES.iter().find(|(other, _)| *other == name);
            let (_, text) = page.unwrap_or_else(|| panic!("docs/errors/{name}.md is missing"));
            assert!(text.starts_with(&format!("# {name} ({code})")), "{name}");
            for heading in ["## Symptom", "## Cause", "## Remedy"] {
                assert!(text.contains(heading), "{name}: {heading}");
            }
        }
        assert_eq!(PAGES.len(), ErrorCode::ALL.len());
    }
}
