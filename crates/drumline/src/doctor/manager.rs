//! The check of the queue manager's readiness.

use std::time::Duration;

use drumline_client::Client;
use reqwest::Url;

use super::Finding;
use crate::cli::client::Tls;
use crate::client_error::ClientError;

const SUBJECT: &str = "queue manager";
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn check(server: &Url, tls: &Tls) -> Finding {
    let builder = Client::builder(server.as_str()).timeout(PATIENCE);
    let client = match tls.apply(builder) {
        Ok(builder) => builder.build(),
        Err(failure) => return Finding::bad(SUBJECT, failure.error.to_string()),
    };
    let answer = match client {
        Ok(client) => client.ready().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(readiness) if readiness.ready => Finding::ok(SUBJECT, format!("ready at {server}")),
        Ok(readiness) => Finding::bad(
            SUBJECT,
            format!(
                "not ready at {server}: {} {}",
                readiness.status,
                readiness.text.trim()
            ),
        ),
        Err(error) => Finding::bad(SUBJECT, ClientError(error).to_string()),
    }
}
