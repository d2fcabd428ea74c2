//! The handler's view of its operation, and its way to report back.
//!
//! ```text
//! handler ─→ Context ─┬─ execution ─┬─ stop ←── leases: pause, cancel, lease lost
//!                     │             ├─ report ─→ the run writes it
//!                     │             └─ lease ←── leases: renewed
//!                     └─ children ─→ store, publisher
//! ```
//!
//! The parts of a run that a handler never sees are in [`crate::run`].

pub(crate) mod children;
pub(crate) mod execution;
pub(crate) mod lease;
pub(crate) mod output;
pub(crate) mod report;
pub(crate) mod stop;

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::Random;
use drumline_protocol::operation::TraceContext;
use drumline_protocol::{DependencyToken, Fence, Operation, OperationId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::Span;

use self::children::{Children, CreateError, NewChild};
use self::execution::Execution;
use self::output::Printed;
use self::report::CheckpointError;
use self::stop::StopReason;

/// A handler's view of the operation that it runs. Cheap to clone. Clones stand
/// for the same run.
#[derive(Clone, Debug)]
pub struct Context {
    execution: Arc<Execution>,
    children: Arc<Children>,
}

impl Context {
    pub(crate) const fn new(execution: Arc<Execution>, children: Arc<Children>) -> Self {
        Self {
            execution,
            children,
        }
    }

    /// The operation as it was when this run was started: id, name, token,
    /// header, and the report of earlier runs.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.execution.operation
    }

    /// The payload: JSON text, as it came.
    #[must_use]
    pub fn data(&self) -> Option<&str> {
        self.execution.operation.body.data.as_deref()
    }

    /// The number of this attempt: 1 for the first. Every run counts, also one that
    /// a drained worker has given back.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.execution.operation.header.attempt()
    }

    /// The fencing token of this run. It is larger than the tokens of all earlier
    /// runs of the operation. Systems that remember the largest token can refuse
    /// a smaller one.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.execution.fence
    }

    /// The dependency token of the operation; `None` if it is in no order with others.
    #[must_use]
    pub fn dependency_token(&self) -> Option<&str> {
        let token = self.execution.operation.body.dependency_token.as_ref();
        token.map(DependencyToken::as_str)
    }

    /// The token of this run, for a client that asks a queue manager in this
    /// operation's name: `Client::builder(…).api_key(token)`. It reads the
    /// operation's organization and creates children, and is refused once this run
    /// has ended. `None` if the worker has no secrets for tokens.
    #[must_use]
    pub fn run_token(&self) -> Option<&str> {
        self.execution.token.as_ref().map(|token| token.0.as_str())
    }

    /// The time at which this run's timeout ends, if it has one.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.execution.deadline
    }

    /// The span of this run. The span is current while the handler runs. Tasks
    /// that the handler spawns are put under the span with `Instrument`.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.execution.span
    }

    /// The trace context to pass on to other systems: this run's span, or the
    /// creating span if no subscriber records spans here.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        let created = &self.execution.operation.body.trace;
        if self.execution.span.is_disabled() && !created.traceparent.is_empty() {
            return created.clone();
        }
        self.execution
            .span
            .in_scope(drumline_telemetry::current_context)
    }

    /// The reason that the handler has been asked to stop, if it has.
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.execution.stop.reason()
    }

    /// Waits until the handler is asked to stop, and returns the reason;
    /// returns at once if the handler has been asked already. Cancel-safe.
    ///
    /// A handler that heeds the request saves a checkpoint, undoes unfinished
    /// work, and returns
    /// [`HandlerError::stopped`](crate::HandlerError::stopped) within the
    /// grace. A handler that does not heed the request is dropped when the grace
    /// ends. A handler that comes to its end meanwhile may succeed all the same.
    ///
    /// ```no_run
    /// use drumline_worker::{Context, HandlerError};
    /// # async fn copy(page: u32) -> std::io::Result<()> { Ok(()) }
    ///
    /// async fn copy_all(pages: u32, context: Context) -> Result<u32, HandlerError> {
    ///     let first = context.saved_checkpoint()?.unwrap_or(0);
    ///     for page in first..pages {
    ///         context.checkpoint(&page)?;
    ///         tokio::select! {
    ///             copied = copy(page) => copied?,
    ///             _why = context.stop_requested() => return Err(HandlerError::stopped()),
    ///         }
    ///         context.progress(u8::try_from(page * 100 / pages).unwrap_or(100), "copying");
    ///     }
    ///     Ok(pages)
    /// }
    /// ```
    pub async fn stop_requested(&self) -> StopReason {
        self.execution.stop.requested().await
    }

    /// Waits until the work must end: not for a drain or a pause, which let it come to
    /// its end within the grace. Cancel-safe.
    pub(crate) async fn must_end(&self) -> StopReason {
        let stop = &self.execution.stop;
        let mut reason = stop.requested().await;
        loop {
            reason = match reason {
                StopReason::Drain => stop.at_least(StopReason::Timeout).await,
                StopReason::Pause => stop.at_least(StopReason::Cancel).await,
                StopReason::Timeout | StopReason::Cancel | StopReason::LeaseLost => return reason,
            };
        }
    }

    /// The worker's source of random numbers.
    pub(crate) fn random(&self) -> &Random {
        self.children.random()
    }

    /// The time at which the handler is dropped if it has not stopped by then.
    /// `None` until the handler has been asked to stop.
    #[must_use]
    pub fn stop_by(&self) -> Option<Instant> {
        self.execution.stop_by.get().copied()
    }

    /// Reports the handler's progress: 0 to 100, and a text for people. Never
    /// waits. The latest report wins, and is in the store within about a
    /// second.
    pub fn progress(&self, percent: u8, text: &str) {
        self.execution.reporter.progress(percent, text);
    }

    /// Adds a line to the output of this attempt, which is stored with the end of the
    /// attempt and shown by `drumline attempts` and the console. Never waits. Of a
    /// long output the end is kept: 64 KiB if the attempt fails, 1 KiB if it succeeds, else
    /// 4 KiB, or what the worker is told with `max_output` and `max_output_succeeded`.
    pub fn log(&self, line: &str) {
        self.execution.printed.add_line(line.as_bytes());
    }

    /// The output of this attempt.
    pub(crate) fn printed(&self) -> &Printed {
        &self.execution.printed
    }

    /// Saves the point to go on from after a pause, a retry or a crash. Never
    /// waits. The latest checkpoint wins. [`Self::flushed`] waits until the
    /// checkpoint is safe.
    ///
    /// # Errors
    /// When the value is not JSON, or too large.
    pub fn checkpoint<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CheckpointError> {
        self.execution.reporter.checkpoint(value)
    }

    /// The checkpoint that the latest earlier run has saved, if any.
    ///
    /// # Errors
    /// When the checkpoint cannot be read as a `T`.
    pub fn saved_checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.raw_checkpoint().map(serde_json::from_str).transpose()
    }

    /// The checkpoint of the latest earlier run, as JSON text.
    #[must_use]
    pub fn raw_checkpoint(&self) -> Option<&str> {
        self.execution.operation.report.checkpoint.as_deref()
    }

    /// Waits until everything that was reported so far is in the store.
    /// Cancel-safe. Does not return while the store is unavailable. A handler
    /// that waits here is stopped when its lease ends.
    pub async fn flushed(&self) {
        self.execution.reporter.flushed().await;
    }

    /// Creates an operation: a child of this one, with its trace,
    /// `correlationId`, organization and owner, and one level deeper.
    ///
    /// ```no_run
    /// use drumline_worker::{Context, HandlerError, NewChild};
    ///
    /// async fn import_all(files: Vec<String>, context: Context) -> Result<(), HandlerError> {
    ///     let imports = files.iter().map(|file| {
    ///         NewChild::new("ImportSolution").data(file).token("crm")
    ///     });
    ///     context.create_all(imports).await?;
    ///     context.create(NewChild::new("SendReport").key("report")).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// A later run of this operation that creates the same child gets the
    /// existing child: see [`NewChild::key`] for the meaning of "the same". Give
    /// a key if a call is repeated within one run. (A child that was removed
    /// more than some minutes ago is created again.)
    ///
    /// The call waits for an unavailable store, until the lease ends. If the
    /// future is dropped, the child may or may not have been created.
    ///
    /// # Errors
    /// When the child would be too deep or breaks a rule, when this run does
    /// not hold its operation any more, or the store cannot be used.
    pub async fn create(&self, child: NewChild) -> Result<OperationId, CreateError> {
        let created = self.children.create(&self.execution, vec![child]).await?;
        // The contract of `Children::create` gives one id for each child.
        created.first().copied().ok_or(CreateError::NotHeld)
    }

    /// Creates many children with few round trips, in the order given, which is
    /// the order of execution for children with one token. Their ids come back
    /// in the same order. If one child breaks a rule, none is created. All else
    /// is as in [`Self::create`].
    ///
    /// # Errors
    /// The same as of [`Self::create`]. Children at the front may have been created.
    pub async fn create_all(
        &self,
        children: impl IntoIterator<Item = NewChild>,
    ) -> Result<Vec<OperationId>, CreateError> {
        let children = children.into_iter().collect();
        self.children.create(&self.execution, children).await
    }

    /// The time that this run may still act if no further renewal succeeds. Every
    /// renewal refills it, three times per lease or more often.
    #[must_use]
    pub fn lease_left(&self) -> Duration {
        self.execution.lease.left(Instant::now())
    }
}
