//! A session, from the opening of the intake to its end: requests are done, in
//! the order that they need, and acknowledged when nothing of them can be lost.
//!
//! ```text
//! gather what is here ── lanes: one per token, one per request without ──┐ some at a time
//!        ▲                                                               ▼
//!        └──────────────────── all done ◄──── done ── answered ── acknowledged
//! ```
//!
//! Requests are gathered, and each batch is done before the next. Creates of
//! one token are done one after the other, others beside each other; a request
//! of another kind waits for all before it. So a producer's creates for one
//! token are done in the order of publishing, and its *execute* requests find
//! what the producer has created before.
//!
//! While the store or the broker is unavailable, the session waits, with the
//! requests in hand and unacknowledged: nothing overtakes them. The wait is
//! bounded, because RabbitMQ closes the channel of a consumer that holds a
//! message for half an hour. After a while the session ends, and the requests
//! in hand go back to their place in the queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use drumline_backend::broker::{self, Receipt};
use drumline_backend::intake::{Envelope, Intake, Refused, Reply, Request, Requests};
use drumline_protocol::Backoff;
use drumline_protocol::operation::TraceContext;
use drumline_telemetry::{current_context, set_parent};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span};

use super::disposition::{Verdict, judge};
use super::in_process_http::{Answer, Door};
use super::translate::{Errand, Order, translate};
use crate::service::QueueManager;

/// Requests that are done together: all that can be in hand.
const BATCH: usize = super::PREFETCH.get() as usize;

/// Requests that are being done at a time: enough to keep the store busy, and
/// well under the 52 concurrent requests of one caller, to which they may all
/// belong.
const AT_ONCE: usize = 16;

/// The time that requests are kept in hand while store or broker are
/// unavailable.
const HOLD: Duration = Duration::from_secs(60);

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
    door: Door,
    intake: Arc<dyn Intake>,
    /// Cancelled when nothing more is to be begun: the process is to end, or a
    /// server that is needed has been unavailable for too long.
    over: CancellationToken,
    /// Requests that are done and not answered yet.
    finishing: TaskTracker,
}

/// A request, and its translation.
struct Job {
    envelope: Envelope,
    payload: Vec<u8>,
    receipt: Box<dyn Receipt>,
    errand: Errand,
}

impl Session {
    pub(super) fn new(
        manager: &QueueManager,
        door: &Door,
        intake: &Arc<dyn Intake>,
        stop: &CancellationToken,
    ) -> Self {
        let shared = Shared {
            manager: manager.clone(),
            door: door.clone(),
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

/// Jobs that may be done beside each other, each list in its order.
#[derive(Default)]
struct Lanes {
    lanes: Vec<Vec<Job>>,
    tokens: HashMap<String, usize>,
}

impl Lanes {
    fn add(&mut self, job: Job, token: Option<String>) {
        let place = token.map(|token| *self.tokens.entry(token).or_insert(self.lanes.len()));
        match place.and_then(|place| self.lanes.get_mut(place)) {
            Some(lane) => lane.push(job),
            None => self.lanes.push(vec![job]),
        }
    }
}

impl Shared {
    async fn work(self: &Arc<Self>, batch: Vec<Request>) {
        let until = Instant::now() + HOLD;
        let mut lanes = Lanes::default();
        for request in batch {
            self.manager.metrics().intake_received.inc();
            let Some(job) = self.understand(request) else {
                continue;
            };
            match job.errand.order.clone() {
                Order::Free => lanes.add(job, None),
                Order::Token(token) => lanes.add(job, Some(token)),
                Order::Alone => {
                    self.work_off(std::mem::take(&mut lanes), until).await;
                    lanes.add(job, None);
                    self.work_off(std::mem::take(&mut lanes), until).await;
                }
            }
        }
        self.work_off(lanes, until).await;
    }

    /// The job in a request; a request that stands for none is finished here.
    fn understand(self: &Arc<Self>, request: Request) -> Option<Job> {
        let Request {
            envelope,
            payload,
            receipt,
        } = request;
        match translate(&envelope, payload.clone(), &self.manager.options().limits) {
            Ok(errand) => Some(Job {
                envelope,
                payload,
                receipt,
                errand,
            }),
            Err(problem) => {
                let answer = Answer::of(&problem);
                let verdict = judge(envelope, &payload, &answer, false, self.keep());
                self.finish(verdict, receipt, false);
                None
            }
        }
    }

    async fn work_off(self: &Arc<Self>, lanes: Lanes, until: Instant) {
        stream::iter(lanes.lanes)
            .for_each_concurrent(AT_ONCE, async |lane| {
                for job in lane {
                    // Nothing overtakes a job that could not be done.
                    let Some(answer) = self.done(&job, until).await else {
                        return;
                    };
                    let repeatable = job.errand.is_repeatable();
                    let verdict = judge(job.envelope, &job.payload, &answer, true, self.keep());
                    self.finish(verdict, job.receipt, repeatable);
                }
            })
            .await;
    }

    /// Does a job, and repeats it while store or broker is unavailable. Returns
    /// the answer, or `None` when the session is over.
    async fn done(&self, job: &Job, until: Instant) -> Option<Answer> {
        let mut errand = job.errand.clone();
        let span = span(&job.envelope, &mut errand);
        let mut busy = 0;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while !self.over.is_cancelled() {
            let answer = self.door.ask(&errand).instrument(span.clone()).await;
            if !answer.is_busy() {
                return Some(answer);
            }
            // Some requests are too much for a service in the best of health.
            if errand.order == Order::Alone && self.manager.health().await.is_ready() {
                busy += 1;
                if busy == BUSY {
                    return Some(answer);
                }
            }
            if Instant::now() >= until {
                tracing::warn!("store or broker unavailable; requests wait in their queue");
                self.over.cancel();
            }
            self.rest(&mut backoff).await;
        }
        None
    }

    /// Answers, puts aside and acknowledges, while the next ones are done.
    fn finish(self: &Arc<Self>, verdict: Verdict, receipt: Box<dyn Receipt>, repeatable: bool) {
        let shared = Arc::clone(self);
        self.finishing.spawn(async move {
            if !shared.put_aside(verdict.refused).await {
                // It has to come again; until the channel is closed, it would not.
                shared.over.cancel();
                return;
            }
            let answered = shared.answer(verdict.reply).await;
            // The next receiver can answer it, if that does nothing twice.
            // Until the channel is closed, there is none.
            if !answered && repeatable {
                shared.over.cancel();
                return;
            }
            if let Err(error) = receipt.acknowledge().await {
                tracing::debug!(%error, "a request that was executed may be delivered again");
            }
        });
    }

    async fn put_aside(&self, refused: Option<Refused>) -> bool {
        let Some(refused) = refused else {
            return true;
        };
        let (code, reason) = (refused.code.clone(), refused.reason.clone());
        tracing::warn!(
            code,
            reason,
            bytes = refused.bytes,
            "a request is put into the quarantine"
        );
        let until = Instant::now() + HOLD;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while let Err(error) = self.intake.quarantine(refused.clone()).await {
            if self.over.is_cancelled() || Instant::now() >= until {
                tracing::warn!(%error, "the quarantine did not accept a request");
                return false;
            }
            self.rest(&mut backoff).await;
        }
        self.manager.metrics().quarantined(code);
        true
    }

    /// Returns true if nothing more is to be done about the answer.
    async fn answer(&self, reply: Option<Reply>) -> bool {
        let Some(reply) = reply else {
            return true;
        };
        let until = Instant::now() + HOLD;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while let Err(error) = self.intake.reply(reply.clone()).await {
            let passes = match &error {
                broker::Error::Unavailable { .. } | broker::Error::Blocked { .. } => true,
                broker::Error::Unroutable { .. }
                | broker::Error::Queue { .. }
                | broker::Error::Refused
                | broker::Error::Encode(_) => false,
            };
            if !passes {
                tracing::warn!(%error, "the queue of a producer did not accept the answer");
                return true;
            }
            if self.over.is_cancelled() || Instant::now() >= until {
                tracing::warn!(%error, "a request could not be answered");
                return false;
            }
            self.rest(&mut backoff).await;
        }
        self.manager.metrics().intake_answered(reply.status);
        true
    }

    /// A pause that grows; ends with the session.
    async fn rest(&self, backoff: &mut Backoff) {
        self.over.run_until_cancelled(sleep(backoff.full())).await;
    }

    /// Bytes of a request that are kept aside: the most that one may have.
    fn keep(&self) -> usize {
        let limits = &self.manager.options().limits;
        limits.body_bytes.max(limits.batch_bytes)
    }
}

/// The span of a request, in the trace of its producer; the spans of the HTTP
/// face go below it.
fn span(envelope: &Envelope, errand: &mut Errand) -> tracing::Span {
    let header = |name| envelope.header(name).unwrap_or_default().to_owned();
    let span = info_span!(
        "process",
        otel.name = "process requests",
        otel.kind = "consumer",
        messaging.system = "drumline",
        messaging.operation.type = "process",
        messaging.operation.name = "process",
        messaging.destination.name = "requests",
        messaging.message.id = envelope.message_id.as_deref(),
        messaging.message.conversation_id = envelope.correlation_id.as_deref(),
    );
    set_parent(
        &span,
        &TraceContext {
            traceparent: header("traceparent"),
            tracestate: header("tracestate"),
        },
    );
    let context = span.in_scope(current_context);
    let headers = [
        ("traceparent", context.traceparent),
        ("tracestate", context.tracestate),
    ];
    for (name, value) in headers {
        match HeaderValue::try_from(value) {
            Ok(value) => drop(errand.headers.insert(name, value)),
            Err(_no_text) => drop(errand.headers.remove(name)),
        }
    }
    span
}
