//! Bodies of requests: in time, in a bounded memory, and read to their end before
//! the answer.
//!
//! ```text
//! request ─→ memory for the body ─→ handler, which reads it, or not ─→ rest discarded ─→ answer
//! ```
//!
//! Many clients send the whole body before they read the answer. A refusal that
//! comes while they still send would close the connection under them, and they
//! would report a broken pipe. So a bounded rest is read and discarded first.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Sleep, sleep, timeout};

use crate::ingress::problem::Problem;
use crate::options::{Http, Limits};
use crate::service::QueueManager;

/// The bytes of a rest that are discarded. A client with more than these in flight
/// sees its connection closed.
const DISCARDED: usize = 32 << 20;
/// The time for that.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time that a request waits for memory for its body.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(5);
/// The bytes of one permit.
const UNIT: usize = 1 << 10;

/// The body did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("the body did not come within {}", humantime::format_duration(*.0))]
pub(crate) struct TooSlow(pub(crate) Duration);

/// The memory for bodies of a server.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    options: Http,
    limits: Limits,
    memory: Arc<Semaphore>,
}

impl Bodies {
    pub(crate) fn of(manager: &QueueManager) -> Self {
        let (options, limits) = (manager.options().http, manager.options().limits);
        // A single body always fits.
        let bytes = options.body_memory.max(largest(&limits));
        Self {
            options,
            limits,
            memory: Arc::new(Semaphore::new(bytes / UNIT + 1)),
        }
    }

    /// Takes memory for a body, if it comes free in time.
    async fn memory(&self, headers: &HeaderMap) -> Option<OwnedSemaphorePermit> {
        let largest = largest(&self.limits);
        let bytes = match content_length(headers) {
            // The body is refused, and is not kept.
            Some(bytes) if bytes > largest => 0,
            Some(bytes) => bytes,
            // The length is not announced.
            None => largest,
        };
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.memory).acquire_many_owned(units);
        timeout(MEMORY_TIMEOUT, permit).await.ok()?.ok()
    }
}

/// The most bytes that a body may have.
fn largest(limits: &Limits) -> usize {
    limits.body_bytes.max(limits.batch_bytes)
}

/// Reads the announced length of a body.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<usize> {
    let value = headers.get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Wraps the body of a request, and discards the rest of it before the answer.
pub(crate) async fn bounded<F: Future<Output = Response>>(
    bodies: &Bodies,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    if request.body().is_end_stream() {
        return next(request).await;
    }
    let waits_for_a_word = request.headers().contains_key(EXPECT);
    let memory = bodies.memory(request.headers()).await;
    let (give_back, rest) = oneshot::channel();
    let request = request.map(|body| {
        Body::from_stream(Watched {
            body: Some(body.into_data_stream()),
            is_begun: false,
            limit: bodies.options.body_timeout,
            deadline: Box::pin(sleep(bodies.options.body_timeout)),
            give_back: Some(give_back),
        })
    });
    let mut response = if memory.is_some() {
        next(request).await
    } else {
        drop(request);
        let detail = "the bodies of other requests take all memory that there is for them";
        Problem::busy(detail.to_owned()).into_response()
    };
    drop(memory);
    // Nothing is given back by a body that was read to its end.
    let is_read = match rest.await {
        Ok(Rest::None) | Err(_) => true,
        Ok(Rest::Broken) => false,
        // The client sends the body only if it is asked to, which reading would do.
        Ok(Rest::Untouched(_)) if waits_for_a_word => false,
        Ok(Rest::Untouched(rest) | Rest::Begun(rest)) => discard(rest).await,
    };
    if !is_read {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads a rest to its end. Returns false if it is too long, or too slow.
async fn discard(mut rest: BodyDataStream) -> bool {
    let mut left = DISCARDED;
    let reading = async {
        while let Some(Ok(bytes)) = rest.next().await {
            match left.checked_sub(bytes.len()) {
                Some(less) => left = less,
                None => return false,
            }
        }
        true
    };
    timeout(DISCARD_TIMEOUT, reading).await.unwrap_or(false)
}

/// The part of a body that was not read.
enum Rest {
    None,
    /// It failed, and nothing more can come.
    Broken,
    Untouched(BodyDataStream),
    Begun(BodyDataStream),
}

/// A body that has a deadline, and gives its rest back when it is dropped.
struct Watched {
    /// `None` at the end.
    body: Option<BodyDataStream>,
    is_begun: bool,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
    give_back: Option<oneshot::Sender<Rest>>,
}

impl Watched {
    fn end(&mut self, rest: Rest) {
        self.body = None;
        if let Some(give_back) = self.give_back.take() {
            // The request is gone, with its connection.
            drop(give_back.send(rest));
        }
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.is_begun = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        match body.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Some(Ok(bytes))),
            Poll::Ready(Some(Err(error))) => {
                self.end(Rest::Broken);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                self.end(Rest::None);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if self.deadline.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                let slow = TooSlow(self.limit);
                self.end(Rest::Broken);
                Poll::Ready(Some(Err(axum::Error::new(slow))))
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let rest = match self.body.take() {
            None => Rest::None,
            Some(body) if self.is_begun => Rest::Begun(body),
            Some(body) => Rest::Untouched(body),
        };
        self.end(rest);
    }
}
