//! The page to sign in, with a key or at an issuer.

use askama::Template;

use crate::frame::Frame;
use crate::text::Text;

/// The page.
#[derive(Debug, Template)]
#[template(path = "login.html")]
pub struct LoginPage {
    /// The frame.
    pub frame: Frame,
    /// The reason why the caller is not signed in.
    pub reason: Option<Text>,
    /// The address to go on to.
    pub next: String,
    /// The organization that was named.
    pub organization: String,
    /// True to load the page once more: a link on another site has led here, and the
    /// browser sends the cookie with requests of this site only.
    pub again: bool,
    /// True if people can sign in at an issuer, too.
    pub by_issuer: bool,
    /// The address that the page leads to at once; `None`: it stays.
    pub onward: Option<String>,
}
