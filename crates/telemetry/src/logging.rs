//! The log on stderr, and the choice of the spans that exist at all.

use std::io::{IsTerminal, stderr};

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{self, EnvFilter, FilterExt};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::{Registry, fmt};

/// A layer of the subscriber.
pub(crate) type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The log on stderr.
pub(crate) fn layer(format: LogFormat, directives: &str) -> Result<BoxedLayer, filter::ParseError> {
    let chosen = EnvFilter::builder().parse(directives)?;
    // lapin logs returned messages and user names: only on explicit request.
    let lapin = directives.contains("lapin");
    let filter = chosen.and(filter::filter_fn(move |metadata| {
        lapin || !metadata.target().starts_with("lapin")
    }));
    Ok(match format {
        LogFormat::Text => {
            let layer = fmt::layer().with_writer(stderr);
            // By default it has colours, unless `NO_COLOR` is set.
            let layer = if stderr().is_terminal() {
                layer
            } else {
                layer.with_ansi(false)
            };
            layer.with_filter(filter).boxed()
        }
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(stderr)
            .with_filter(filter)
            .boxed(),
    })
}

/// Returns true if a span or event is part of a trace: ours, at the level that
/// tells the story. Spans of the libraries beneath are not, and an exporter
/// that traced its own requests would never come to rest.
pub(crate) fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("drumline") && *metadata.level() <= LevelFilter::INFO
}

/// Does nothing, but keeps our spans in existence whatever the log shows, so
/// that a quiet log does not tear a trace apart.
struct Carrier;

impl<S: Subscriber> Layer<S> for Carrier {}

/// [`Carrier`] for our spans alone.
pub(crate) fn carrier() -> BoxedLayer {
    let ours = filter::filter_fn(|metadata| metadata.is_span() && is_traced(metadata));
    Carrier
        .with_filter(ours.with_max_level_hint(LevelFilter::INFO))
        .boxed()
}
