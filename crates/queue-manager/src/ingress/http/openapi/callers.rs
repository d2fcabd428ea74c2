//! The common part of every call under /v1: a call may name the caller, and is
//! refused when the name is wrong, or when the caller asks for too much.

use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};
use utoipa::{IntoParams, IntoResponses, Modify};

use super::{Forbidden, Invalid, TooMany, Unauthenticated};

/// The call that is not rate-limited: it never ends.
const EVENTS: &str = "/v1/events";

/// The headers that say who asks.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct Headers {
    /// The organization (tenant). It sees no operations of other organizations.
    /// Default: the one of the key, or `default`. With a key, the header selects
    /// among the organizations of the key. Without keys, the header is not verified: a
    /// gateway that authenticates has to set it.
    #[param(
        rename = "Drumline-Organization",
        required = false,
        max_length = 256,
        pattern = "^[!-~]([ -~]*[!-~])?$"
    )]
    organization: String,
    /// The caller, which owns the operations that it creates, and whose requests
    /// are counted. Default: the one of the key, or `anonymous`.
    #[param(
        rename = "Drumline-Caller",
        required = false,
        max_length = 256,
        pattern = "^[!-~]([ -~]*[!-~])?$"
    )]
    actor: String,
}

/// The modifier that adds the caller's headers and refusals to every call.
pub(super) struct Callers;

impl Modify for Callers {
    fn modify(&self, document: &mut OpenApi) {
        for (address, item) in &mut document.paths.paths {
            if !address.starts_with("/v1/") {
                continue;
            }
            for operation in operations(item) {
                let headers = Headers::into_params(|| Some(ParameterIn::Header));
                let parameters = operation.parameters.get_or_insert_default();
                parameters.extend(headers.into_iter().map(RefOr::T));
                let mut refusals = Invalid::responses();
                refusals.extend(Unauthenticated::responses());
                refusals.extend(Forbidden::responses());
                if address != EVENTS {
                    refusals.extend(TooMany::responses());
                }
                for (status, response) in refusals {
                    // A call's own description is more exact.
                    let responses = &mut operation.responses.responses;
                    responses.entry(status).or_insert(response);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem {
        get,
        put,
        post,
        delete,
        patch,
        ..
    } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}
