//! `drumline health`: asks the process on this machine whether it is ready, or alive.

use std::time::Duration;

use drumline_client::Client;

use crate::cli::health::Health;
use crate::exit::{Exit, Result};
use crate::output;

/// Asks once. Everything but a success is exit code 1: a container engine knows no
/// other.
///
/// # Errors
/// When a file of TLS cannot be used.
pub(crate) async fn run(health: &Health) -> Result<Exit> {
    let mut builder = Client::builder(health.url.as_str())
        .timeout(health.timeout)
        .patience(Duration::ZERO);
    if let Some(address) = health.connect {
        builder = builder.connect_to(address);
    }
    let client = health.tls.apply(builder)?.build()?;
    let asked = async {
        if health.live {
            client.alive().await
        } else {
            client.ready().await
        }
    };
    // The client bounds connecting, and this the answer.
    let answer = match tokio::time::timeout(health.timeout, asked).await {
        Ok(Ok(readiness)) if readiness.ready => {
            output::line(if health.live { "alive" } else { "ready" })?;
            return Ok(Exit::Ok);
        }
        Ok(Ok(readiness)) => format!("{} {}", readiness.status, readiness.text.trim()),
        Ok(Err(error)) => crate::client_error::ClientError(error).to_string(),
        Err(_elapsed) => format!("no answer from {} within {:?}", health.url, health.timeout),
    };
    let state = if health.live { "alive" } else { "ready" };
    output::hint(&format!("not {state}: {answer}"));
    Ok(Exit::Failed)
}
