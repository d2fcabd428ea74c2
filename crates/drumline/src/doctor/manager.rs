//! The queue manager: is it ready?

use std::time::Duration;

use reqwest::Url;

use super::Finding;
use crate::client::Client;

const SUBJECT: &str = "queue manager";
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn check(server: &Url) -> Finding {
    let client = match Client::new(server.clone(), PATIENCE, None) {
        Ok(client) => client,
        Err(error) => return Finding::bad(SUBJECT, error.to_string()),
    };
    match client.ready().await {
        Ok((status, _)) if status.is_success() => {
            Finding::ok(SUBJECT, format!("ready at {server}"))
        }
        Ok((status, text)) => Finding::bad(
            SUBJECT,
            format!("not ready at {server}: {status} {}", text.trim()),
        ),
        Err(error) => Finding::bad(SUBJECT, error.to_string()),
    }
}
