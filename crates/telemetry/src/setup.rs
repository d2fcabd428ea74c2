//! Setting up and taking down, once per process.

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::logging::LogFormat;
use crate::{export, logging, past};

/// The settings of a process's logs and traces.
#[derive(Clone, Debug)]
pub struct Options {
    /// The service's name in traces, unless `OTEL_SERVICE_NAME` gives another.
    pub service_name: String,
    /// The log filter, in the syntax of `RUST_LOG`: a level, or levels per
    /// target (`info,drumline_worker=debug`). `off` is silent. Messages of the
    /// AMQP library are shown only if `lapin` is named, as they contain
    /// payloads and user names.
    pub directives: String,
    /// The format of the log.
    pub format: LogFormat,
    /// True if spans are exported; see [`export::is_wanted`].
    pub export: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            service_name: "drumline".to_owned(),
            directives: "info".to_owned(),
            format: LogFormat::Text,
            export: false,
        }
    }
}

/// The reason that telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directives do not parse.
    #[error("the log filter is not valid")]
    Directives(#[from] filter::ParseError),
    /// The OTLP exporter does not accept its variables.
    #[error("the OTLP exporter cannot be set up")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The process has a subscriber already.
    #[error("telemetry was set up before")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Telemetry that was set up. Shut it down to get the last spans out.
#[derive(Debug)]
#[must_use = "the last spans leave with `shutdown`"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Sets up the log and the export for this process.
///
/// With `export` it must be called on a tokio runtime, which then runs the
/// exporter's task.
///
/// # Errors
/// When the options or the OTEL_* variables cannot be used, or when telemetry
/// was set up before.
pub fn init(options: &Options) -> Result<Telemetry> {
    let mut layers = vec![
        logging::layer(options.format, &options.directives)?,
        logging::carrier(),
    ];
    let provider = options
        .export
        .then(|| export::start(&options.service_name))
        .transpose()?;
    layers.extend(provider.as_ref().map(export::layer));
    let tracer = provider.as_ref().map(export::tracer);
    layers.extend(tracer.map(past::layer));
    tracing_subscriber::registry().with(layers).try_init()?;
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Exports the remaining spans; waits five seconds at most.
    pub async fn shutdown(self) {
        if let Some(provider) = self.provider {
            export::stop(provider).await;
        }
    }
}

#[cfg(test)]
mod tests;
