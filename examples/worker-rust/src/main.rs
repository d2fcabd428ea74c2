//! Example: a worker with one handler, a function.

use std::time::Duration;

use drumline_sdk::{Context, HandlerError};

#[derive(serde::Deserialize)]
struct Guest {
    name: String,
    seconds: u64,
}

async fn greet(guest: Guest, context: Context) -> Result<String, HandlerError> {
    context.progress(50, "thinking of words");
    tokio::time::sleep(Duration::from_secs(guest.seconds)).await;
    Ok(format!("hello {}", guest.name))
}

fn main() -> drumline_sdk::Result<()> {
    drumline_sdk::run(|worker| worker.handler("Greet", greet))
}
