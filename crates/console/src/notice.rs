//! A page with one message: an error, with its code and the way out.

use askama::Template;

use crate::frame::Frame;
use crate::text::Text;

/// A link below a message.
#[derive(Clone, Debug)]
pub struct NoticeLink {
    /// The words.
    pub label: Text,
    /// The address.
    pub address: String,
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "notice.html")]
pub struct NoticePage {
    /// The frame.
    pub frame: Frame,
    /// The sentences: what has happened, then what helps.
    pub sentences: Vec<Text>,
    /// The parts that break a rule, and the rules.
    pub mistakes: Vec<(Text, Text)>,
    /// The code and its name.
    pub code: Option<Text>,
    /// The ways out.
    pub links: Vec<NoticeLink>,
}
