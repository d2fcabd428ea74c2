//! Trace contexts in and out of `tracing` spans.
//!
//! With an exporter on, a span's context is the one that OpenTelemetry made for
//! it. Without an exporter, spans have no context of their own: the context
//! that came in is noted on the span it was given to, and every span below
//! passes it on. Nothing is recorded then, and nothing costs more than a
//! lookup.

use drumline_protocol::operation::TraceContext;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::{Dispatch, Span};
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use crate::w3c;

/// The context of the current tracing span, for a record, a message or a
/// header. Always a valid one: if nothing traces and nothing came in, a fresh
/// context is made up, and noted on the current span.
#[must_use]
pub fn current_context() -> TraceContext {
    let span = Span::current();
    let recorded = span.context();
    let recorded = recorded.span().span_context().clone();
    if recorded.is_valid() {
        return w3c::write(&recorded);
    }
    carried(&span).unwrap_or_else(|| {
        let fresh = w3c::invent();
        carry(&span, &fresh);
        fresh
    })
}

/// Makes `span` a child of a span elsewhere. A context that is empty or broken
/// changes nothing. Call this before the span is entered: a span that has begun
/// keeps its parent.
pub fn set_parent(span: &Span, parent: &TraceContext) {
    let Some(remote) = w3c::parse(parent) else {
        return;
    };
    let context = Context::new().with_remote_span_context(remote.clone());
    match span.set_parent(context) {
        Ok(()) => {}
        Err(SetParentError::LayerNotFound | SetParentError::SpanDisabled) => {
            carry(span, &w3c::write(&remote));
        }
        Err(SetParentError::AlreadyStarted) => {
            tracing::debug!("a span that has begun cannot be given a parent");
        }
    }
}

/// Links `span` to a span elsewhere: related, but not its parent. A context
/// that is empty or broken changes nothing.
pub fn add_link(span: &Span, context: &TraceContext) {
    if let Some(remote) = w3c::parse(context) {
        span.add_link(remote);
    }
}

/// A context noted on a span.
struct Carried(TraceContext);

fn carry(span: &Span, context: &TraceContext) {
    span.with_subscriber(|(id, dispatch)| {
        if let Some(noted) = registry(dispatch).and_then(|spans| spans.span(id)) {
            noted.extensions_mut().replace(Carried(context.clone()));
        }
    });
}

/// The context of the nearest span upwards that has one.
fn carried(span: &Span) -> Option<TraceContext> {
    span.with_subscriber(|(id, dispatch)| {
        let mut scope = registry(dispatch)?.span(id)?.scope();
        scope.find_map(|span| {
            let extensions = span.extensions();
            extensions.get::<Carried>().map(|found| found.0.clone())
        })
    })
    .flatten()
}

fn registry(dispatch: &Dispatch) -> Option<&Registry> {
    dispatch.downcast_ref::<Registry>()
}
