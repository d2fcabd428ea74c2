//! `drumline queue-manager`: the service on Redis and RabbitMQ, requests that
//! come over AMQP, and maintenance.

use std::time::Duration;

use drumline_auth::RunSecrets;
use drumline_backend::Ids;
use drumline_process::host_id;
use drumline_queue_manager::options::Limits;
use drumline_queue_manager::{AmqpIngress, Maintenance, Options, QueueManager, Server};
use tokio::time::{sleep, timeout};

use super::backend::Connected;
use super::{REQUEST_GRACE, catch_signals, completion_options, drain, listen, until_signal};
use crate::cli::completion_options::CompletionOptions;
use crate::cli::limits;
use crate::cli::service::{self, Http};
use crate::exit::{Exit, Result};
use crate::output;

/// The time for leaving the members after a failure.
const LEAVING: Duration = Duration::from_secs(2);

/// Runs until a signal.
pub(crate) async fn run(settings: &service::QueueManager) -> Result<Exit> {
    let mut signals = catch_signals()?;
    let runs = listen::run_secrets(settings.http.run_key_file.as_deref())?;
    let options = options(&settings.http, &settings.limits, &settings.completion, runs)?;
    let connected = tokio::select! {
        connected = Connected::to_servers(&settings.connection, "queue-manager") => connected?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before the servers were available");
            return Ok(Exit::Ok);
        }
    };
    let manager = QueueManager::new(connected.backend().clone(), Ids::random(), options);
    let maintenance = Maintenance::start_with(
        &manager,
        &completion_options::maintenance(&settings.completion, &settings.limits),
    );
    let server = Server::start(settings.http.listen, manager.clone())
        .await
        .map_err(|error| listen::cannot_listen(settings.http.listen, error))?;
    let intake = if settings.intake {
        connected.intake()
    } else {
        None
    };
    let amqp = intake.map(|intake| AmqpIngress::start(&manager, intake));
    output::line(&format!("ready {}", server.url()))?;

    let signal = match until_signal(&mut signals, manager.failed()).await {
        Ok(signal) => signal,
        Err(failure) => {
            // Others take the partitions over at once, and not after a timeout.
            drop(timeout(LEAVING, maintenance.stop()).await);
            return Err(failure);
        }
    };
    let drained = async {
        leave(&manager, settings.drain_delay).await;
        let received = async {
            if let Some(amqp) = amqp {
                amqp.stop().await;
            }
        };
        tokio::join!(server.shutdown(REQUEST_GRACE), received);
        maintenance.stop().await;
        manager.close().await;
        connected.disconnect().await;
    };
    Ok(drain(&mut signals, signal, drained).await)
}

/// Lets load balancers find out that the manager ends, while it still takes requests.
async fn leave(manager: &QueueManager, delay: Duration) {
    manager.leave();
    if !delay.is_zero() {
        tracing::info!(?delay, "not ready any more; requests are taken for a while");
        sleep(delay).await;
    }
}

/// The options of a manager.
///
/// # Errors
/// When a setting cannot be applied.
pub(crate) fn options(
    http: &Http,
    limits: &limits::Limits,
    completion: &CompletionOptions,
    runs: Option<RunSecrets>,
) -> Result<Options> {
    Ok(Options {
        host: host_id(),
        limits: Limits {
            body_bytes: usize::try_from(http.max_body).unwrap_or(usize::MAX),
            ..Limits::default()
        },
        http: drumline_queue_manager::options::Http {
            header_timeout: http.http_header_timeout,
            body_timeout: http.http_body_timeout,
            connections: usize::from(http.max_connections.get()),
            body_memory: usize::try_from(http.max_body_memory).unwrap_or(usize::MAX),
            ..drumline_queue_manager::options::Http::default()
        },
        event_streams: usize::from(http.max_event_streams),
        admission: limits.admission(),
        quotas: listen::quotas(limits.quota_file.as_deref())?,
        max_batch_size: limits.max_batch_size,
        async_requests: limits.async_requests.clone(),
        queues: limits.queues(),
        token_policy: completion_options::token_policy(completion),
        webhooks: completion_options::webhooks(completion)?,
        audit_log: listen::audit_log(http)?,
        access: listen::access(http, runs)?,
        tls: listen::tls(http)?,
        ..Options::default()
    })
}
