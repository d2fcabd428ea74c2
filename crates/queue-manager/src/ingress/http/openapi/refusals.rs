//! The refusals that kinds of calls have in common.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

use super::{Busy, Illegal, Invalid, NotFound, NotJson, TooLarge, UnsupportedMediaType};

macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $name:ident = $($refusal:ident),*;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug)]
            pub(crate) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    let refusals = [$($refusal::responses()),*];
                    refusals.into_iter().flatten().collect()
                }
            }
        )*
    };
}

refusals! {
    /// The refusals of a call with a body.
    OfBody = NotJson, TooLarge, UnsupportedMediaType, Invalid, Busy;
    /// The refusals of a call that changes one operation.
    OfChange = NotJson, NotFound, Illegal, TooLarge, UnsupportedMediaType, Invalid, Busy;
}
