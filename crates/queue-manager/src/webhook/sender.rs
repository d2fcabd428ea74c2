//! One try to report an operation's end: a signed POST.

use std::sync::Arc;

use drumline_api::view::OperationView;
use drumline_egress::{NotAllowed, Reach, check, client, reasons};
use drumline_protocol::{Operation, Timestamp};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, Url};

use super::{Secret, Webhooks};

/// The result of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// A 2xx: the receiver has it.
    Taken,
    /// The receiver wants no more, or it can never be sent: do not try again.
    Unwanted(String),
    /// Any other result, with the reason: try again.
    Failed(String),
}

/// Sends notices; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    client: Client,
    secrets: Arc<[Secret]>,
    reach: Reach,
}

impl Sender {
    /// A sender with these options.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub(crate) fn new(webhooks: &Webhooks) -> Result<Self, reqwest::Error> {
        let reach = webhooks.reach();
        let client = client(reach)
            .timeout(webhooks.timeout)
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(1)
            .build()?;
        Ok(Self {
            client,
            secrets: webhooks.secrets.clone().into(),
            reach,
        })
    }

    /// Tries once to report the end of an operation. `now` is signed along, so
    /// that an old notice cannot be played again later.
    ///
    /// If the future is dropped, the receiver may or may not have the notice.
    pub(crate) async fn deliver(
        &self,
        url: &str,
        operation: &Operation,
        now: Timestamp,
    ) -> Delivery {
        let url = match check(url) {
            Ok(url) => url,
            Err(why) => return Delivery::Unwanted(format!("the address {why}")),
        };
        // Names are checked when they are resolved; IP addresses are not.
        if !self.reach.allows_text(&url) {
            return Delivery::Unwanted(NotAllowed(self.reach).to_string());
        }
        let body = match serde_json::to_vec(&OperationView::from(operation)) {
            Ok(body) => body,
            Err(error) => return Delivery::Unwanted(error.to_string()),
        };
        self.post(url, operation, body, now).await
    }

    async fn post(
        &self,
        url: Url,
        operation: &Operation,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Delivery {
        let id = operation.id.to_string();
        let timestamp = now.as_millis().div_euclid(1000);
        let signatures: Vec<String> = self
            .secrets
            .iter()
            .map(|secret| secret.sign(&id, timestamp, &body))
            .collect();
        let mut request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures.join(" "));
        let trace = &operation.body.trace;
        if !trace.traceparent.is_empty() {
            request = request.header("traceparent", &trace.traceparent);
        }
        match request.body(body).send().await {
            // The rest of the answer is not read: it would be shown nowhere.
            Ok(response) => judge(response.status()),
            Err(error) => Delivery::Failed(reasons(&error)),
        }
    }
}

fn judge(status: StatusCode) -> Delivery {
    if status.is_success() {
        Delivery::Taken
    } else if status == StatusCode::GONE {
        Delivery::Unwanted("the receiver answered 410 Gone".to_owned())
    } else {
        Delivery::Failed(format!("the receiver answered {status}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_2xx_is_taken_and_only_a_410_ends_it() {
        let judged = |status| judge(StatusCode::from_u16(status).unwrap());
        for status in [200, 202, 204] {
            assert_eq!(judged(status), Delivery::Taken);
        }
        assert!(matches!(judged(410), Delivery::Unwanted(_)));
        for status in [301, 302, 308, 400, 401, 404, 429, 500, 503] {
            assert!(matches!(judged(status), Delivery::Failed(_)), "{status}");
        }
    }
}
