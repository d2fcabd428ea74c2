//! Failure groups: those on the first page, and the page that mutes one.

use askama::Template;

use crate::chart::Chart;
use crate::frame::Frame;
use crate::text::Text;
use crate::time::Moment;

/// A mute in force.
#[derive(Clone, Debug)]
pub struct MuteLine {
    /// The caller that has set it.
    pub author: Text,
    /// The reason.
    pub reason: Text,
    /// The time at which it was set.
    pub since: Moment,
    /// The time at which it ends.
    pub until: Moment,
}

/// A failure group in short.
#[derive(Clone, Debug)]
pub struct FailureLine {
    /// The id of the group.
    pub id: String,
    /// The message name.
    pub message_name: Text,
    /// The code, or its name.
    pub code: Text,
    /// The error, without what differs from failure to failure.
    pub pattern: Text,
    /// The number of failures.
    pub count: Text,
    /// The failures of each hour of the last day.
    pub chart: Chart,
    /// The last failure.
    pub last: Moment,
    /// The address of the operation that failed last.
    pub sample: String,
}

/// The fields of the form, as they were given.
#[derive(Clone, Debug, Default)]
pub struct MuteForm {
    /// The reason.
    pub reason: String,
    /// The time at which the mute ends, or a span.
    pub until: String,
    /// The fields that break a rule, and the rules.
    pub mistakes: Vec<(Text, Text)>,
}

/// The page that mutes a group, and ends its mute.
#[derive(Debug, Template)]
#[template(path = "mute.html")]
pub struct MutePage {
    /// The frame.
    pub frame: Frame,
    /// The group.
    pub group: FailureLine,
    /// Its mute, if one is in force.
    pub mute: Option<MuteLine>,
    /// The form.
    pub form: MuteForm,
}
