//! All handlers of one worker, by message name.

use std::collections::HashMap;
use std::sync::Arc;

use super::{ALL_OTHERS, Handler, Limits};

/// A handler and its limits.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) limits: Limits,
}

/// All handlers of one worker, by message name.
#[derive(Default)]
pub(crate) struct Registry {
    by_name: HashMap<String, Registered>,
    all_others: Option<Registered>,
}

impl Registry {
    /// Adds a handler. Returns false if the name is taken.
    pub(crate) fn add(&mut self, name: String, registered: Registered) -> bool {
        let before = if name == ALL_OTHERS {
            self.all_others.replace(registered)
        } else {
            self.by_name.insert(name, registered)
        };
        before.is_none()
    }

    /// The handler for a message name.
    pub(crate) fn find(&self, name: &str) -> Option<&Registered> {
        self.by_name.get(name).or(self.all_others.as_ref())
    }

    /// The name under which the handler of a message name is registered: itself, or
    /// [`ALL_OTHERS`].
    pub(crate) fn registered_name<'a>(&self, name: &'a str) -> &'a str {
        if self.by_name.contains_key(name) {
            name
        } else {
            ALL_OTHERS
        }
    }

    /// Every message name that has a handler, as membership lists them.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.by_name.keys().cloned().collect();
        names.sort_unstable();
        if self.all_others.is_some() {
            names.push(ALL_OTHERS.to_owned());
        }
        names
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.all_others.is_none()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
