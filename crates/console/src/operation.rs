//! The page of one operation: why it stands where it stands, and what helps.

use askama::Template;
use drumline_protocol::transition::legal_actions;
use drumline_protocol::{Action, Operation, Report, State, Status, Timestamp};

use crate::attempts::AttemptLine;
use crate::frame::Frame;
use crate::operations::Row;
use crate::text::{Block, Text, address};
use crate::time::{Moment, exact, span};
use crate::timeline::Timeline;
use crate::words::{self, Badge};

/// The characters of an error that the headline shows.
const HEADLINE_CHARS: usize = 300;

/// The reason why an operation waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The reason and the remedy, in the words of the API.
    pub detail: String,
    /// The operation that it waits for, if it waits for one.
    pub on: Option<String>,
    /// The address of the page that lifts the pause that it waits for.
    pub lift: Option<String>,
}

/// The operation that another one waits for.
#[derive(Clone, Debug)]
pub struct Root {
    /// The id.
    pub id: String,
    /// The words by which people know it.
    pub name: Text,
    /// The status.
    pub status: Badge,
}

/// An action that is possible now.
#[derive(Clone, Debug)]
pub struct ActionLink {
    /// The word.
    pub label: &'static str,
    /// The address of the page that says what it does.
    pub address: String,
    /// True if it cannot be taken back.
    pub is_final: bool,
}

/// The place of an operation in the order of its token.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The token.
    pub token: Text,
    /// The address of all operations with the token.
    pub address: String,
    /// The operations before it.
    pub before: u64,
    /// The operations behind it.
    pub behind: u64,
    /// The nearest before and behind it, and it itself, in their order. None if it has
    /// left the order, because it is Completed.
    pub neighbours: Vec<Row>,
}

/// Operations that have to do with one, under a heading.
#[derive(Clone, Debug)]
pub struct Related {
    /// The heading.
    pub title: &'static str,
    /// The operations.
    pub rows: Vec<Row>,
    /// The address of all of them.
    pub address: String,
    /// True if there are more.
    pub more: bool,
}

/// One attribute.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The label.
    pub label: &'static str,
    /// The value.
    pub text: Text,
    /// The address that the value leads to.
    pub address: Option<String>,
    /// The value, if it is a time.
    pub moment: Option<Moment>,
}

impl Fact {
    fn new(label: &'static str, text: impl Into<Text>) -> Self {
        Self {
            label,
            text: text.into(),
            address: None,
            moment: None,
        }
    }

    fn link(label: &'static str, text: impl Into<Text>, address: String) -> Self {
        Self {
            address: Some(address),
            ..Self::new(label, text)
        }
    }

    fn time(label: &'static str, at: Timestamp, now: Timestamp) -> Self {
        Self {
            moment: Some(Moment { at, now }),
            ..Self::new(label, exact(at))
        }
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "operation.html")]
pub struct OperationPage {
    /// The frame.
    pub frame: Frame,
    /// The id.
    pub id: String,
    /// The version, which grows with each change.
    pub version: u64,
    /// The message name.
    pub message: Text,
    /// The status.
    pub status: Badge,
    /// A note about the action that led here.
    pub done: Option<Text>,
    /// The headline and the sentences behind it.
    pub sentences: Vec<Text>,
    /// The operation that it waits for.
    pub root: Option<Root>,
    /// The progress of the handler.
    pub progress: Option<(u8, Text)>,
    /// The actions that are possible.
    pub actions: Vec<ActionLink>,
    /// The address of the page that lifts the pause that it waits for.
    pub lift: Option<String>,
    /// The attributes.
    pub facts: Vec<Fact>,
    /// The history.
    pub timeline: Timeline,
    /// The attempts, the latest first.
    pub attempts: Vec<AttemptLine>,
    /// The place in the chain.
    pub chain: Option<Chain>,
    /// Children, parent, series.
    pub related: Vec<Related>,
    /// Message, result, data, checkpoint.
    pub blocks: Vec<Block>,
}

impl OperationPage {
    /// Adds the next times of a series, in words.
    pub fn add_next_times(&mut self, times: &[String]) {
        if !times.is_empty() {
            self.facts.push(Fact::new("Next times", times.join(", ")));
        }
    }

    /// The page of an operation, without what is asked for apart: history, attempts,
    /// chain and relatives.
    #[must_use]
    pub fn of(frame: Frame, operation: &Operation, waiting: Option<&Waiting>) -> Self {
        let Operation {
            id,
            header,
            body,
            report,
            ..
        } = operation;
        let now = frame.now;
        let rights = frame.rights();
        let may = |action: &Action| match action {
            Action::Delete => rights.operate,
            Action::Cancel | Action::Pause | Action::Resume | Action::Postpone => rights.control,
        };
        let actions = legal_actions(header).into_iter().filter(may);
        let mut actions: Vec<_> = actions
            .map(|action| ActionLink {
                label: words::action(action),
                address: format!("/operations/{id}/{}", action.name()),
                is_final: matches!(action, Action::Cancel | Action::Delete),
            })
            .collect();
        let is_over = header.status.state() == State::Completed && !header.is_series();
        if is_over && rights.control {
            // A token that is held goes on first.
            let place = if header.holding { actions.len() } else { 0 };
            let again = ActionLink {
                label: "Run again",
                address: format!("/operations/{id}/run-again"),
                is_final: false,
            };
            actions.insert(place, again);
        }
        let fault = report.fault.as_ref();
        let blocks = [
            Block::of(
                "Error, for people",
                fault.map(|fault| fault.friendly_message.as_str()),
            ),
            Block::of(
                "Error, for experts",
                fault.map(|fault| fault.message.as_str()),
            ),
            Block::of("Result", report.result.as_deref()),
            Block::of("Data", body.data.as_deref()),
            Block::of("Checkpoint", report.checkpoint.as_deref()),
        ];
        Self {
            id: id.to_string(),
            version: header.version,
            message: Text::line(&body.message_name),
            status: Badge(header.status),
            done: None,
            sentences: why(operation, waiting, now),
            root: None,
            progress: report
                .progress
                .as_ref()
                .map(|progress| (progress.percent.min(100), Text::line(&progress.text))),
            actions,
            lift: waiting
                .and_then(|waiting| waiting.lift.clone())
                .filter(|_| rights.operate),
            facts: facts(operation, now),
            timeline: Timeline::default(),
            attempts: Vec::new(),
            chain: None,
            related: Vec::new(),
            blocks: blocks.into_iter().flatten().collect(),
            frame,
        }
    }

    /// Returns true if a block is what a person looks for: the error of an operation
    /// that failed, or that its handler has suspended.
    #[must_use]
    pub fn is_open(&self, block: &Block) -> bool {
        let is_stopped = matches!(self.status, Badge(Status::Failed | Status::Waiting));
        is_stopped && block.title.starts_with("Error")
    }

    /// Returns true if the bar of the history has parts.
    #[must_use]
    pub fn has_bar(&self) -> bool {
        !self.timeline.segments.is_empty()
    }
}

/// The reason why an operation stands where it stands: the first sentence is the
/// headline.
#[must_use]
pub fn why(operation: &Operation, waiting: Option<&Waiting>, now: Timestamp) -> Vec<Text> {
    let Operation { header, report, .. } = operation;
    if let Some(waiting) = waiting {
        // The API puts the remedy behind a semicolon.
        return waiting.detail.split("; ").map(Text::sentence).collect();
    }
    let host = header.host_id.as_deref().unwrap_or("a worker");
    let spent = span(std::time::Duration::from_millis(header.execution_ms));
    let ended = header.completed_on.map(|at| Moment { at, now }.relative());
    let ended = ended.unwrap_or_default();
    let hold = "It holds its token: resume it, and the operation behind it goes on";
    let mut sentences = match header.status {
        Status::WaitingForResources | Status::Waiting => {
            vec![words::reason(header, now).as_str().to_owned()]
        }
        Status::InProgress | Status::Pausing | Status::Canceling => {
            let since = header.started_on.map(|at| span(now.since(at)));
            let since = since.unwrap_or_default();
            vec![format!(
                "It has been running for {since} on {host}, attempt {}",
                header.attempt()
            )]
        }
        Status::Succeeded if header.starts == 0 => vec![format!("It was over {ended}")],
        Status::Succeeded => vec![format!("It succeeded {ended} on {host}, after {spent}")],
        Status::Failed => failed(report, &ended),
        Status::Canceled => vec![format!("It was cancelled {ended}")],
    };
    if header.holding {
        sentences.push(hold.to_owned());
    }
    sentences.iter().map(|text| Text::sentence(text)).collect()
}

fn failed(report: &Report, ended: &str) -> Vec<String> {
    let Some(fault) = &report.fault else {
        return vec![format!("It failed {ended}")];
    };
    let words = if fault.friendly_message.is_empty() {
        &fault.message
    } else {
        &fault.friendly_message
    };
    let words = drumline_protocol::limits::cut(words, HEADLINE_CHARS);
    let name = fault.code.name().unwrap_or("a code of its handler");
    let mut sentences = vec![format!("It failed {ended}: {words}")];
    let meaning = fault.code.meaning().map(|meaning| format!(": {meaning}"));
    let meaning = meaning.unwrap_or_default();
    sentences.push(format!("{}, {name}{meaning}", fault.code));
    sentences
}

fn facts(operation: &Operation, now: Timestamp) -> Vec<Fact> {
    let Operation {
        id, header, body, ..
    } = operation;
    let list = |name: &str, value: &str| address("/operations", [(name, value)]);
    let message = &body.message_name;
    let mut facts = vec![
        Fact::new("Id", id.to_string()),
        Fact::link(
            "Message name",
            message.as_str(),
            list("messageName", message),
        ),
        Fact::link(
            "Queue",
            body.queue.as_str(),
            list("queue", body.queue.as_str()),
        ),
    ];
    if !body.name.is_empty() {
        facts.push(Fact::link(
            "Name",
            body.name.as_str(),
            list("name", &body.name),
        ));
    }
    if let Some(token) = &body.dependency_token {
        let all = list("dependencyToken", token.as_str());
        facts.push(Fact::link("Token", token.as_str(), all));
        facts.push(Fact::new(
            "When it fails",
            match header.rules.token_policy.name() {
                "hold" => "its token is held",
                _ => "its token goes on",
            },
        ));
    }
    facts.push(Fact::link(
        "Owner",
        body.owner.as_str(),
        list("ownerId", &body.owner),
    ));
    facts.push(Fact::time("Created", body.created_on, now));
    if let Some(author) = header.modified_by() {
        facts.push(Fact::time("Changed", header.modified_on, now));
        facts.push(Fact::new("Changed by", author.in_words()));
    }
    for (label, at) in [
        ("Started", header.started_on),
        ("Completed", header.completed_on),
        ("Postponed until", header.postpone_until),
        ("Not after", header.rules.not_after),
    ] {
        facts.extend(at.map(|at| Fact::time(label, at, now)));
    }
    if let Some(host) = &header.host_id {
        facts.push(Fact::new("Host", host.as_str()));
    }
    if header.starts > 0 {
        let others = [
            (header.retry_count, "retried"),
            (header.lost, "lost"),
            (header.released, "given back"),
        ];
        let others = others.iter().filter(|(count, _)| *count > 0);
        let mut attempts = header.starts.to_string();
        for (count, word) in others {
            attempts.push_str(&format!(", {count} {word}"));
        }
        facts.push(Fact::new("Attempts", attempts));
        let spent = span(std::time::Duration::from_millis(header.execution_ms));
        facts.push(Fact::new("Time in handlers", spent));
    }
    if let Some(recurrence) = &header.recurrence {
        facts.push(Fact::new("Recurs", recurrence.rule()));
        let zone = recurrence.time_zone().unwrap_or("UTC");
        facts.push(Fact::new("By the clocks of", zone));
    }
    let correlation = body.correlation_id.to_string();
    let all = list("correlationId", &correlation);
    facts.push(Fact::link("Correlation id", correlation, all));
    if let Some(parent) = body.parent_id {
        let parent = parent.to_string();
        let page = format!("/operations/{parent}");
        facts.push(Fact::link("Parent", parent, page));
    }
    if let Some(kind) = &body.primary_entity_type {
        facts.push(Fact::link(
            "Record type",
            kind.as_str(),
            list("primaryEntityType", kind),
        ));
    }
    if let Some(record) = body.regarding_object_id {
        let record = record.to_string();
        let all = list("regardingObjectId", &record);
        facts.push(Fact::link("Record id", record, all));
    }
    if let Some(trace) = body.trace.traceparent.split('-').nth(1) {
        facts.push(Fact::new("Trace", trace));
    }
    let kind = header.rules.operation_type;
    let name = kind.name().map(|name| format!("{} {name}", kind.0));
    facts.push(Fact::new(
        "Operation type",
        name.unwrap_or_else(|| kind.0.to_string()),
    ));
    facts
}
