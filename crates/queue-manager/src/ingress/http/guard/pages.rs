//! The pages of the console and what each needs. A page needs what its part of the API
//! needs.

use axum::http::Method;
use drumline_auth::Permission;

use super::Need;

/// Every page and what it needs.
pub(super) const PAGES: &[(Method, &str, Need)] = {
    use Need::{Key, Nothing, Role};
    use Permission::Read;
    &[
        (Method::GET, "/", Key),
        (Method::GET, "/operations", Role(Read)),
        (Method::GET, "/operations/{id}", Role(Read)),
        (Method::GET, "/find", Role(Read)),
        (Method::GET, "/assets/{name}", Nothing),
    ]
};
