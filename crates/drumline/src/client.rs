//! The queue manager's HTTP API, as far as the commands need it.
//!
//! One method per call. It repeats nothing by itself: whether a repetition is
//! safe depends on what the command is doing (see [`retry`]).

pub(crate) mod error;
pub(crate) mod retry;

use std::time::Duration;

use drumline_protocol::view::OperationView;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use error::{Error, Result};

/// What identifies a repeated create: see the API's documentation.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// A queue manager somewhere. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
}

/// One page of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    /// The operations, newest first.
    pub(crate) operations: Vec<OperationView>,
    /// Where the next page starts; `None`: that was all.
    pub(crate) next_cursor: Option<String>,
}

/// A create that was answered.
#[derive(Debug)]
pub(crate) struct Created {
    /// The operation.
    pub(crate) operation: OperationView,
    /// Whether it is there since an earlier request with the same key.
    pub(crate) existed: bool,
}

impl Client {
    /// A client of the queue manager at `base`. Requests are part of the trace
    /// `traceparent`, where one is given.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(base: Url, timeout: Duration, traceparent: Option<&str>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(value) = traceparent.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert("traceparent", value);
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("drumline/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(timeout)
            // A redirected POST would become a GET: an address that redirects
            // is a wrong address.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(Error::away)?;
        Ok(Self {
            http,
            base,
            timeout,
        })
    }

    /// `POST /v1/operations` with this JSON text. Safe to repeat with a key,
    /// and only then.
    pub(crate) async fn create(&self, request: &str, key: Option<&str>) -> Result<Created> {
        let mut builder = self
            .request(Method::POST, &["v1", "operations"])
            .header(CONTENT_TYPE, "application/json")
            .body(request.to_owned());
        if let Some(key) = key {
            builder = builder.header(IDEMPOTENCY_KEY, key);
        }
        let response = send(builder).await?;
        let existed = response.status() == StatusCode::OK;
        Ok(Created {
            operation: read(response).await?,
            existed,
        })
    }

    /// `GET /v1/operations/{id}`. With `wait`, answers when it is Completed, or
    /// after that time with what there is.
    pub(crate) async fn get(&self, id: &str, wait: Option<Duration>) -> Result<OperationView> {
        let mut builder = self.request(Method::GET, &["v1", "operations", id]);
        if let Some(wait) = wait {
            builder = builder
                .query(&[("wait", format!("{}ms", wait.as_millis()))])
                .timeout(self.timeout.saturating_add(wait));
        }
        read(send(builder).await?).await
    }

    /// `GET /v1/operations`: one page.
    pub(crate) async fn list(&self, query: &[(&str, String)]) -> Result<Page> {
        read(
            send(
                self.request(Method::GET, &["v1", "operations"])
                    .query(query),
            )
            .await?,
        )
        .await
    }

    /// `POST /v1/operations/{id}/{action}`.
    pub(crate) async fn act(
        &self,
        id: &str,
        action: &str,
        body: Option<&Value>,
    ) -> Result<OperationView> {
        let mut builder = self.request(Method::POST, &["v1", "operations", id, action]);
        if let Some(body) = body {
            builder = builder.json(body);
        }
        read(send(builder).await?).await
    }

    /// `DELETE /v1/operations/{id}`.
    pub(crate) async fn delete(&self, id: &str) -> Result<()> {
        send(self.request(Method::DELETE, &["v1", "operations", id])).await?;
        Ok(())
    }

    /// `GET /readyz`: its status and its text.
    pub(crate) async fn ready(&self) -> Result<(StatusCode, String)> {
        let response = self
            .request(Method::GET, &["readyz"])
            .send()
            .await
            .map_err(Error::away)?;
        let status = response.status();
        Ok((status, response.text().await.map_err(Error::away)?))
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        // A base that cannot be one was refused with the flag.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url).timeout(self.timeout)
    }
}

/// Sends a request; an answer that is not a success is an error.
async fn send(builder: RequestBuilder) -> Result<Response> {
    let response = builder.send().await.map_err(Error::away)?;
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(Error::of(response).await)
    }
}

/// The body of a success.
async fn read<T: DeserializeOwned>(response: Response) -> Result<T> {
    let status = response.status();
    let bytes = response.bytes().await.map_err(Error::away)?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Odd {
        status,
        text: format!("{source}: {}", String::from_utf8_lossy(&bytes)),
    })
}
