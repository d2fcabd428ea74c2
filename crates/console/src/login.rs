//! The page to sign in with a key.

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
}
