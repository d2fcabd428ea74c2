//! `GET /v1/events`: operations as they complete.
//!
//! ```text
//! connect ──> read chunks ──> parse ──> hand out, remember the id
//!    ▲                                         │
//!    └── pause <── broken, ended, or silent <──┘   with Last-Event-ID
//! ```

mod parser;

use std::collections::VecDeque;

use drumline_api::view::OperationView;
use drumline_protocol::Status;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use reqwest::{Method, Response};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::client::Client;
use crate::error::{Error, Result, Unreachable};
use crate::http::{self, SILENCE};
use crate::retry::Pauses;
use parser::{Message, Parser};

/// An operation is Completed.
#[derive(Clone, Debug)]
pub struct Event {
    /// The event's place among all events: [`EventFilter::after`] goes on
    /// behind it.
    pub id: String,
    /// The operation, as it was when the event was reported.
    pub operation: OperationView,
}

/// The operations to hear of; several conditions must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct EventFilter {
    message_name: Option<String>,
    status: Option<Status>,
    correlation_id: Option<Uuid>,
    dependency_token: Option<String>,
    name: Option<String>,
    after: Option<String>,
}

impl EventFilter {
    /// All that complete from now on.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this message name.
    pub fn message_name(mut self, name: impl Into<String>) -> Self {
        self.message_name = Some(name.into());
        self
    }

    /// With this status at the end.
    pub const fn status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// With this correlation id.
    pub const fn correlation_id(mut self, id: Uuid) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// With this dependency token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.dependency_token = Some(token.into());
        self
    }

    /// With exactly this name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Goes on behind this event of an earlier stream, instead of with
    /// operations that complete from now on; `0`: begins with the oldest that
    /// is still there.
    pub fn after(mut self, event_id: impl Into<String>) -> Self {
        self.after = Some(event_id.into());
        self
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let Self {
            message_name,
            status,
            correlation_id,
            dependency_token,
            name,
            // A header, because it changes on the way.
            after: _,
        } = self;
        [
            ("messageName", message_name.clone()),
            ("status", status.map(|status| status.code().to_string())),
            ("correlationId", correlation_id.map(|id| id.to_string())),
            ("dependencyToken", dependency_token.clone()),
            ("name", name.clone()),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| (key, value)))
        .collect()
    }
}

impl Client {
    /// Hears of operations when they are Completed. The stream has no end: it
    /// connects again by itself, and goes on behind the last event that was
    /// handed out. It ends after an error that will not pass: the service
    /// refuses the filter, or is unavailable for longer than the client's
    /// patience.
    ///
    /// ```no_run
    /// # async fn example(client: drumline_client::Client) -> drumline_client::Result<()> {
    /// use drumline_client::{EventFilter, Status};
    /// use futures_util::TryStreamExt as _;
    ///
    /// let mut failures = client.events(EventFilter::new().status(Status::Failed));
    /// while let Some(event) = failures.try_next().await? {
    ///     println!("{}: {:?}", event.operation.id, event.operation.message);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self, filter: EventFilter) -> BoxStream<'static, Result<Event>> {
        let listener = Listener {
            client: self.clone(),
            last: filter.after.clone(),
            filter,
            connection: None,
            told: VecDeque::new(),
            pauses: Pauses::new(),
        };
        let events = stream::unfold(Some(listener), |listener| async move {
            let mut listener = listener?;
            match listener.next().await {
                Ok(event) => Some((Ok(event), Some(listener))),
                Err(error) => Some((Err(error), None)),
            }
        });
        events.boxed()
    }
}

#[derive(Debug)]
struct Listener {
    client: Client,
    filter: EventFilter,
    /// The progress of the stream: the id of the last event that was handed
    /// out, or a later one from the service.
    last: Option<String>,
    connection: Option<(Response, Parser)>,
    /// The messages that were read and not handed out yet.
    told: VecDeque<Message>,
    /// Between connections that delivered nothing.
    pauses: Pauses,
}

impl Listener {
    async fn next(&mut self) -> Result<Event> {
        loop {
            while let Some(message) = self.told.pop_front() {
                if let Some(event) = self.event(message)? {
                    return Ok(event);
                }
            }
            self.read().await?;
        }
    }

    /// Reads some more. A connection that breaks is no error here: the next
    /// call makes another.
    async fn read(&mut self) -> Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => (self.connect().await?, Parser::default()),
        };
        let (response, parser) = &mut connection;
        match timeout(SILENCE, response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                self.told.extend(parser.read(&bytes));
                self.connection = Some(connection);
            }
            Ok(Ok(None) | Err(_)) | Err(_) => {
                // A service that takes connections and drops them at once must
                // not be asked without a pause.
                sleep(self.pauses.at_least(None)).await;
            }
        }
        Ok(())
    }

    /// Connects, patiently.
    async fn connect(&self) -> Result<Response> {
        let end = tokio::time::Instant::now().checked_add(self.client.patience());
        let mut pauses = Pauses::new();
        loop {
            let error = match self.try_to_connect().await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let pause = pauses.after(&error);
            let too_late = end.is_some_and(|end| tokio::time::Instant::now() + pause > end);
            if too_late || !error.is_transient() {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    async fn try_to_connect(&self) -> Result<Response> {
        let mut request = self
            .client
            .endless_request(Method::GET, &["v1", "events"])
            .header("Accept", "text/event-stream")
            .query(&self.filter.pairs());
        if let Some(last) = &self.last {
            request = request.header("Last-Event-ID", last);
        }
        match timeout(self.client.timeout(), http::open(request)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Unreachable::silent()),
        }
    }

    /// The event in a message; `None` if it has none, or one of a later
    /// release.
    fn event(&mut self, message: Message) -> Result<Option<Event>> {
        let Message { event, id, data } = message;
        if id.is_some() {
            self.last = id;
            self.pauses = Pauses::new();
        }
        let (Some(data), "completed") = (data, event.as_str()) else {
            return Ok(None);
        };
        let operation = serde_json::from_str(&data)
            .map_err(|error| Error::unexpected_text(&format!("{error}: {data}")))?;
        let id = self.last.clone().unwrap_or_default();
        Ok(Some(Event { id, operation }))
    }
}
