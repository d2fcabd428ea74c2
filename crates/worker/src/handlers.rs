//! Handlers, their limits, and the registry that finds them.

pub mod command;
pub(crate) mod error_body;
pub mod handlers_file;
pub mod http;
pub(crate) mod outcome;
pub mod supervise;

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use drumline_protocol::{ErrorCode, Fault};
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::handlers::outcome::{IntoOutcome, Outcome};
use crate::throttle::Throttle;

/// The message name of a handler for all that no other handler takes.
pub const ALL_OTHERS: &str = "*";

/// The future of a handler's run.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Does what one message name asks for.
///
/// Most handlers are plain functions: see
/// [`Builder::handler`](crate::Builder::handler). Implement this where the
/// payload is not known when the program is written, as the ready-made
/// [`command`](crate::command) and [`http`](crate::http) handlers do.
///
/// The future is dropped when the handler does not stop in time, or at once
/// when the operation is lost. Anything that it has started elsewhere must end
/// with it.
pub trait Handler: Send + Sync + 'static {
    /// Runs one operation to its end.
    fn run(&self, context: Context) -> HandlerFuture;
}

/// A handler that is a function of typed input.
pub(crate) struct Typed<F, I> {
    function: F,
    input: PhantomData<fn(I)>,
}

impl<F, I> Typed<F, I> {
    pub(crate) const fn new(function: F) -> Self {
        Self {
            function,
            input: PhantomData,
        }
    }
}

impl<F, I, R> Handler for Typed<F, I>
where
    F: Fn(I, Context) -> R + Send + Sync + 'static,
    I: DeserializeOwned + 'static,
    R: Future<Output: IntoOutcome> + Send + 'static,
{
    fn run(&self, context: Context) -> HandlerFuture {
        let operation_type = context.operation().header.rules.operation_type;
        match serde_json::from_str(context.data().unwrap_or("null")) {
            Ok(input) => {
                let run = (self.function)(input, context);
                Box::pin(async move { run.await.into_outcome(operation_type) })
            }
            // Trying again would not change the payload.
            Err(error) => Box::pin(std::future::ready(Outcome::Fail(Fault::new(
                ErrorCode::INVALID_ARGUMENT,
                "The operation's data is not what its handler expects.",
                &format!("data: {error}"),
            )))),
        }
    }
}

/// The limits of one handler: how long it may take, and how often it may fail.
/// A limit that is not set is the worker's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    pub(crate) retry_on_timeout: bool,
    pub(crate) throttle: Option<Throttle>,
}

impl Limits {
    /// Nothing set: it may run for ever, and stop within the worker's grace.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            timeout: None,
            grace: None,
            retry_on_timeout: false,
            throttle: None,
        }
    }

    /// The time that one run may take. After it the handler is asked to stop,
    /// and the operation fails with [`ErrorCode::HANDLER_TIMEOUT`].
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The time that it may take to stop, once asked. Then it is dropped.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// A run that takes too long is tried again by the retry policy, instead of
    /// failing. For handlers that hang rather than take long.
    #[must_use]
    pub const fn retry_on_timeout(mut self) -> Self {
        self.retry_on_timeout = true;
        self
    }

    /// The number of failures before its operations are put off.
    #[must_use]
    pub const fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = Some(throttle);
        self
    }
}

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
    /// Adds a handler; `false` where the name is taken.
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
