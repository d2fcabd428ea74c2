//! Calls to addresses that other people name: receivers of webhooks, and web
//! services that handle operations.
//!
//! ```text
//! text ─ check ─→ Url ─ Reach::allows_text ─→ client(reach) ─ one lookup ─ Reach::allows ─→ connection
//! ```
//!
//! The author of an address makes *this process* call it, from where it stands:
//! behind the firewall, beside the cloud's metadata service. So a [`Reach`] says
//! which addresses may be called. A name is looked up once for a connection, the
//! answers are checked, and the connection is made to a checked one. A name that
//! resolves to something else a moment later changes nothing. Redirects are not
//! followed and proxies not asked, because both would look names up unseen.

mod address;
mod client;

pub use address::{Reach, check};
pub use client::{NotAllowed, client, reasons};
