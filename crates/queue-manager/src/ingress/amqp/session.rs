//! A session, from the opening of the intake to its end: requests are done in
//! the order that they need, and finished (`finish`) when their answer is known.
//!
//! ```text
//! gather what is here ── lanes: one per token, one per request without ──┐ some at a time
//!        ▲                                                               ▼
//!        └──────────────────────────── all done ◄──────────────── done ── finish
//! ```
//!
//! Requests are gathered, and each batch is done before the next. Creates of
//! one token are done one after the other, and those of different tokens beside
//! each other. A request of another kind waits for all before it. So a producer's creates for one
//! token are done in the order of publishing, and its *execute* requests find
//! what the producer has created before.
//!
//! While the store or the broker is unavailable, the session waits, with the
//! requests in hand and unacknowledged: nothing overtakes them. The wait is
//! bounded, because RabbitMQ closes the channel of a consumer that holds a
//! message for half an hour. After a while the session ends, and the requests
//! in hand go back to their place in the queue.

mod finish;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker::Receipt;
use drumline_backend::intake::{Envelope, Intake, Request, Requests};
use drumline_protocol::operation::TraceContext;
use drumline_protocol::{Backoff, DependencyToken};
use drumline_telemetry::{current_context, set_parent};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, field, info_span};

use super::disposition::{dispose, is_busy};
use super::execute::{Answer, denied, execute, record};
use super::identity;
use super::translate::{Order, TranslatedRequest, path_of, translate};
use crate::options::Options;
use crate::service::QueueManager;

/// Requests that are done together: all that can be in hand.
const BATCH: usize = super::PREFETCH.get() as usize;

/// Requests that are being done at a time: enough to keep the store busy, and
/// well under the 52 concurrent requests of one caller, to which they may all
/// belong.
const AT_ONCE: usize = 16;

/// The time that requests are kept in hand while store or broker are
/// unavailable. This manager alone may be cut off from the store: another one takes
/// the requests when the session has ended. A shorter time would end sessions in
/// failovers of Redis that all managers sit out.
const HOLD: Duration = Duration::from_secs(10);

/// The first pause before a request is tried again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// The number of times that a request of unknown effort may meet a busy service
/// while everything is available, before "busy" is the answer.
const BUSY: u32 = 3;

/// The processing of requests while the intake is open.
pub(super) struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    manager: QueueManager,
    intake: Arc<dyn Intake>,
    /// Cancelled when nothing more is to be begun: the process is to end, or
    /// store or broker have been unavailable for too long.
    over: CancellationToken,
    /// Requests that are done and not answered yet.
    finishing: TaskTracker,
}

/// A request, and its translation.
struct Job {
    envelope: Envelope,
    payload: Vec<u8>,
    receipt: Box<dyn Receipt>,
    request: TranslatedRequest,
}

impl Session {
    pub(super) fn new(
        manager: &QueueManager,
        intake: &Arc<dyn Intake>,
        stop: &CancellationToken,
    ) -> Self {
        let shared = Shared {
            manager: manager.clone(),
            intake: Arc::clone(intake),
            over: stop.child_token(),
            finishing: TaskTracker::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Does requests until there will be no more, or the session is over.
    pub(super) async fn run(self, mut requests: Box<dyn Requests>) {
        let over = self.shared.over.clone();
        while let Some(Some(batch)) = over.run_until_cancelled(gather(&mut *requests)).await {
            self.shared.work(batch).await;
        }
        // While the channel is open, requests that are done can still be
        // acknowledged.
        self.shared.finishing.close();
        self.shared.finishing.wait().await;
        requests.close().await;
    }
}

/// The requests at hand, at least one; `None` at the end. Cancel-safe.
async fn gather(requests: &mut dyn Requests) -> Option<Vec<Request>> {
    let mut batch = vec![requests.next().await?];
    // Nothing is awaited from here on.
    while batch.len() < BATCH
        && let Some(Some(request)) = requests.next().now_or_never()
    {
        batch.push(request);
    }
    Some(batch)
}

/// Lanes of jobs: those of one lane are done in its order, lanes beside each
/// other.
#[derive(Default)]
struct Lanes {
    lanes: Vec<Vec<Job>>,
    tokens: HashMap<DependencyToken, usize>,
    /// The lane of asynchronous requests, of whatever organization.
    requests: Option<usize>,
}

impl Lanes {
    fn add(&mut self, job: Job, options: &Options) {
        let lane = match job.request.order(options) {
            Order::Token(token) => {
                let token = token.clone();
                Some(*self.tokens.entry(token).or_insert(self.lanes.len()))
            }
            Order::Requests => Some(*self.requests.get_or_insert(self.lanes.len())),
            Order::Free | Order::Alone => None,
        };
        match lane.and_then(|lane| self.lanes.get_mut(lane)) {
            Some(lane) => lane.push(job),
            None => self.lanes.push(vec![job]),
        }
    }
}

impl Shared {
    /// Does a batch of requests.
    async fn work(self: &Arc<Self>, batch: Vec<Request>) {
        let until = Instant::now() + HOLD;
        let mut lanes = Lanes::default();
        let options = self.manager.options();
        for request in batch {
            self.manager.metrics().intake_received.inc();
            let Some(job) = self.job(request) else {
                continue;
            };
            if job.request.order(options) == Order::Alone {
                self.run(std::mem::take(&mut lanes), until).await;
                lanes.add(job, options);
                self.run(std::mem::take(&mut lanes), until).await;
            } else {
                lanes.add(job, options);
            }
        }
        self.run(lanes, until).await;
    }

    /// Translates a message. A message that stands for no request, or is refused
    /// because of its sender, is finished here.
    fn job(self: &Arc<Self>, request: Request) -> Option<Job> {
        let Request {
            mut envelope,
            payload,
            receipt,
        } = request;
        let options = self.manager.options();
        // The content of a message is read when its sender is known.
        let (problem, is_understood) = match identity::admit(&options.access, &mut envelope) {
            Ok(principal) => match translate(&envelope, &payload, principal, &options.limits) {
                Ok(request) => {
                    return Some(Job {
                        envelope,
                        payload,
                        receipt,
                        request,
                    });
                }
                Err(problem) => (problem, false),
            },
            Err(refusal) => (denied(&self.manager, refusal), true),
        };
        let answer = Err(problem);
        if is_understood {
            // Its kind is in the routing key; what it asks for was not read.
            let path = path_of(&envelope.kind);
            let user = envelope.user_id.as_deref();
            let keys = options.access.keys();
            let principal = keys.and_then(|keys| keys.user(user?));
            record(&self.manager, path, principal.as_deref(), None, &answer);
        }
        let kept = self.kept_bytes();
        let disposition = dispose(envelope, &payload, answer, is_understood, kept);
        self.finish(disposition, receipt, false);
        None
    }

    /// Does the jobs of some lanes at a time, and returns when all are done.
    async fn run(self: &Arc<Self>, lanes: Lanes, until: Instant) {
        stream::iter(lanes.lanes)
            .for_each_concurrent(AT_ONCE, async |lane| {
                for job in lane {
                    // Nothing overtakes a job that could not be done.
                    let Some(answer) = self.process(&job, until).await else {
                        return;
                    };
                    let Job {
                        envelope,
                        payload,
                        receipt,
                        request,
                    } = job;
                    record(
                        &self.manager,
                        request.call.path(),
                        request.principal.as_deref(),
                        request.named.ok(),
                        &answer,
                    );
                    let disposition = dispose(envelope, &payload, answer, true, self.kept_bytes());
                    self.finish(disposition, receipt, request.is_repeatable);
                }
            })
            .await;
    }

    /// Does a job within its span. Returns the answer, or `None` when the session
    /// is over.
    async fn process(&self, job: &Job, until: Instant) -> Option<Answer> {
        let span = span(&job.envelope);
        let answer = self
            .try_until_answered(job, until)
            .instrument(span.clone())
            .await;
        if let Some(Err(problem)) = &answer
            && problem.status >= 500
        {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", problem.status.to_string());
        }
        answer
    }

    /// Does a job, and repeats it while store or broker is unavailable.
    async fn try_until_answered(&self, job: &Job, until: Instant) -> Option<Answer> {
        let mut busy = 0;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while !self.over.is_cancelled() {
            let answer = execute(&self.manager, &job.request, &job.payload).await;
            if !answer.as_ref().is_err_and(|problem| is_busy(problem)) {
                return Some(answer);
            }
            // Some requests are too much for a healthy service, too.
            let is_alone = job.request.order(self.manager.options()) == Order::Alone;
            if is_alone && self.manager.health().await.is_ready() {
                busy += 1;
                if busy == BUSY {
                    return Some(answer);
                }
            }
            if Instant::now() >= until {
                tracing::warn!("store or broker unavailable; requests wait in their queue");
                self.over.cancel();
            }
            self.pause(&mut backoff).await;
        }
        None
    }

    /// Pauses, for longer each time. A pause ends with the session.
    async fn pause(&self, backoff: &mut Backoff) {
        self.over.run_until_cancelled(sleep(backoff.full())).await;
    }

    /// The bytes of a request that are quarantined: the most that one may have.
    fn kept_bytes(&self) -> usize {
        let limits = &self.manager.options().limits;
        limits.body_bytes.max(limits.batch_bytes)
    }
}

/// The span of a request, in the trace of its producer; the spans of what it
/// creates go below it.
fn span(envelope: &Envelope) -> tracing::Span {
    let header = |name| envelope.header(name).unwrap_or_default().to_owned();
    let span = info_span!(
        "process",
        otel.name = "process requests",
        otel.kind = "consumer",
        otel.status_code = field::Empty,
        messaging.system = "drumline",
        messaging.operation.type = "process",
        messaging.operation.name = "process",
        messaging.destination.name = "requests",
        messaging.message.id = envelope.message_id.as_deref(),
        messaging.message.conversation_id = envelope.correlation_id.as_deref(),
        error.type = field::Empty,
    );
    set_parent(
        &span,
        &TraceContext {
            traceparent: header("traceparent"),
            tracestate: header("tracestate"),
        },
    );
    // A request without a trace gets one here, which all of its tries and all
    // operations that it creates belong to.
    drop(span.in_scope(current_context));
    span
}
