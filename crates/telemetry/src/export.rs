//! The export of spans over OTLP/HTTP.
//!
//! The SDK reads its own variables: `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_HEADERS`,
//! `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES`, … . It does
//! not read whether to be on at all; [`is_wanted`] does.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter;
use tracing_subscriber::layer::Layer;

use crate::logging::{BoxedLayer, is_traced};
use crate::setup::Error;

/// The time that the last spans may take to leave. A collector that is
/// unavailable must not hold up a shutdown for longer.
const FLUSH: Duration = Duration::from_secs(5);

/// Returns true if the standard variables ask for the export of spans: an
/// endpoint is given, and neither `OTEL_SDK_DISABLED` nor
/// `OTEL_TRACES_EXPORTER=none` says no.
#[must_use]
pub fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let has = |name: &str| variable(name).is_some_and(|value| !value.trim().is_empty());
    let is = |name: &str, wanted: &str| {
        variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    (has("OTEL_EXPORTER_OTLP_ENDPOINT") || has("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
        && !is("OTEL_SDK_DISABLED", "true")
        && !is("OTEL_TRACES_EXPORTER", "none")
}

/// Starts the export; its task runs on the current tokio runtime.
pub(crate) fn start(service_name: &str) -> Result<SdkTracerProvider, Error> {
    // The HTTP client takes any provider that the process has, and panics
    // without one. A provider that is there already is fine.
    drop(rustls::crypto::ring::default_provider().install_default());
    let exporter = SpanExporter::builder().with_http().build()?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource(service_name))
        .with_span_processor(BatchSpanProcessor::builder(exporter, Tokio).build())
        .build())
}

/// Exports the remaining spans, then stops. Cancel-safe: the export goes on
/// alone if the future is dropped.
pub(crate) async fn stop(provider: SdkTracerProvider) {
    // The shutdown blocks its thread until the exporter's task has answered.
    let flushed = tokio::task::spawn_blocking(move || provider.shutdown());
    match tokio::time::timeout(FLUSH, flushed).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans were not exported"),
        Ok(Err(error)) => tracing::warn!(%error, "the last spans were not exported"),
        Err(_elapsed) => tracing::warn!("the last spans were not exported in time"),
    }
}

/// The name of this process: `OTEL_SERVICE_NAME`, or the binary's own.
fn resource(service_name: &str) -> Resource {
    let detected = Resource::builder().build();
    let named = detected
        .get(&"service.name".into())
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let builder = Resource::builder();
    if named {
        builder.build()
    } else {
        builder.with_service_name(service_name.to_owned()).build()
    }
}

/// The tracer of spans that are not made through `tracing`.
pub(crate) fn tracer(provider: &SdkTracerProvider) -> SdkTracer {
    provider.tracer("drumline")
}

/// The layer that turns our spans into OpenTelemetry's.
pub(crate) fn layer(provider: &SdkTracerProvider) -> BoxedLayer {
    tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_tracer(provider.tracer("drumline"))
        .with_filter(filter::filter_fn(is_traced).with_max_level_hint(LevelFilter::INFO))
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_switches_it_on_unless_another_variable_says_no() {
        const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        const TRACES: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/x");
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], false),
            (&[ENDPOINT], true),
            (&[TRACES], true),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], false),
            (&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")], false),
            (&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")], true),
            (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], false),
            (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "otlp")], true),
        ];
        for (variables, wanted) in cases {
            let read = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(is_wanted(read), *wanted, "{variables:?}");
        }
    }
}
