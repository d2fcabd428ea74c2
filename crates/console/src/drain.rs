//! The question before a worker is drained.

use askama::Template;

use crate::frame::Frame;
use crate::text::Text;

/// The page.
#[derive(Debug, Template)]
#[template(path = "drain.html")]
pub struct DrainPage {
    /// The frame.
    pub frame: Frame,
    /// The id of the worker.
    pub id: String,
    /// The name of its process.
    pub host: Text,
    /// The consequence, in sentences.
    pub effects: Vec<Text>,
    /// True if it drains already.
    pub is_draining: bool,
}
