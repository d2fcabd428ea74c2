//! API keys, the roles that they have, and the file that lists them.
//!
//! ```text
//! auth.toml ─ AuthFile::parse ─→ Policy ─┐
//! Authorization: Bearer drl_… ───────────┴─ authenticate ─→ Principal ─ act_as ─→ organization, caller
//!                                                             └ permissions ⊇ what the address needs
//! ```
//!
//! A run of a handler has a token of its own instead of a key: [`RunSecrets`]. A person
//! may have a token of an issuer of OpenID Connect: [`Oidc`].
//!
//! The file holds hashes only. A key is 256 random bits, so a plain SHA-256 keeps
//! it: there is nothing to guess, and nothing that a slow hash would protect.
//!
//! Nothing here awaits or reads a clock. [`Authenticator`] reads its file again
//! when its owner says so.

mod authenticator;
mod edit;
mod file;
mod key;
mod oidc;
mod permission;
mod principal;
mod run_token;
mod session;

pub use authenticator::{Authenticator, Reload};
pub use edit::{AuthDocument, EditError, NewKey};
pub use file::{FileError, Policy};
pub use key::{ApiKey, InvalidKey, KeyHash};
pub use oidc::{BadToken, Begun, Flow, KeySet, Oidc, SignIn, is_safe_address};
pub use permission::{Permission, Permissions, Role};
pub use principal::{ActsAs, Denied, Forbidden, Organizations, Principal, Proof};
pub use run_token::{Run, RunSecrets};
pub use session::{Session, seal};
