//! The page of pauses: those in force, and the form that sets one.

use askama::Template;

use crate::frame::Frame;
use crate::now::PauseLine;
use crate::text::Text;

/// The fields of the form, as they were given.
#[derive(Clone, Debug, Default)]
pub struct PauseForm {
    /// The kind of scope: `queue`, `messageName`, `dependencyToken`, `organization`.
    pub scope: String,
    /// The value of the scope.
    pub name: String,
    /// The reason.
    pub reason: String,
    /// The time at which it ends, or a span; empty: a person lifts it.
    pub until: String,
    /// The fields that break a rule, and the rules.
    pub mistakes: Vec<(Text, Text)>,
}

/// The kinds of scope: the word of the API, and the words of the form.
const SCOPES: [(&str, &str); 4] = [
    ("queue", "Queue"),
    ("messageName", "Message name"),
    ("dependencyToken", "Token"),
    ("organization", "The whole organization"),
];

impl PauseForm {
    /// The kinds of scope: word, label, and true for the chosen one.
    #[must_use]
    pub fn scopes(&self) -> Vec<(&'static str, &'static str, bool)> {
        let scopes = SCOPES.into_iter();
        scopes
            .map(|(name, label)| (name, label, name == self.scope))
            .collect()
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pauses.html")]
pub struct PausesPage {
    /// The frame.
    pub frame: Frame,
    /// The pauses in force.
    pub pauses: Vec<PauseLine>,
    /// The form.
    pub form: PauseForm,
}

/// The page before a pause is lifted.
#[derive(Debug, Template)]
#[template(path = "lift.html")]
pub struct LiftPage {
    /// The frame.
    pub frame: Frame,
    /// The pause.
    pub pause: PauseLine,
}
