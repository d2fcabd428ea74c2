//! The page before an operation runs again: as a new one.

use askama::Template;

use crate::frame::Frame;
use crate::text::Text;
use crate::words::Badge;

/// The page.
#[derive(Debug, Template)]
#[template(path = "run-again.html")]
pub struct RunAgainPage {
    /// The frame.
    pub frame: Frame,
    /// The operation.
    pub id: String,
    /// The name of the operation.
    pub subject: Text,
    /// The status of the operation.
    pub status: Badge,
    /// The token, which the new operation may leave.
    pub token: Option<Text>,
    /// True if the operation holds its token.
    pub is_holding: bool,
    /// True if the operation does not run again.
    pub is_impossible: bool,
    /// The time of the question: a form that is sent twice creates one operation.
    pub asked: String,
}
