//! `drumline dev`: manager, maintenance and worker in one process, on the
//! embedded backend. Without RabbitMQ there are no requests over AMQP.

use drumline_auth::RunSecrets;
use drumline_backend::Ids;
use drumline_process::host_id;
use drumline_queue_manager::{Maintenance, QueueManager, Server};
use drumline_worker::{Options, RunningWorker, Worker};

use super::backend::Connected;
use super::{
    REQUEST_GRACE, builtin, catch_signals, completion_options, drain, listen, queue_manager,
    until_signal, worker,
};
use crate::cli::service::Dev;
use crate::exit::{Exit, Failure, Result};
use crate::output;

/// Runs until a signal.
pub(crate) async fn run(dev: &Dev) -> Result<Exit> {
    let mut signals = catch_signals()?;
    let handlers = worker::read_handlers(&dev.execution)?;
    let connected = Connected::embedded();
    let runs = match listen::run_secrets(dev.http.run_key_file.as_deref())? {
        // Manager and worker are this process.
        None if dev.http.auth_file.is_some() => {
            let random = RunSecrets::random().map_err(|_unspecified| {
                Failure::new(
                    Exit::Internal,
                    "the operating system gives no random numbers",
                )
            });
            Some(random?)
        }
        read => read,
    };
    let options = queue_manager::options(&dev.http, &dev.limits, &dev.completion, runs.clone())?;
    let manager = QueueManager::new(connected.backend().clone(), Ids::random(), options);
    let maintenance = Maintenance::start_with(
        &manager,
        &completion_options::maintenance(&dev.completion, &dev.limits),
    );
    // The server comes first: commands are given its address.
    let server = Server::start(dev.http.listen, manager.clone())
        .await
        .map_err(|error| listen::cannot_listen(dev.http.listen, error))?;
    let url = server.url();
    let mut builder = Worker::builder().options(Options {
        run_secrets: runs,
        ..worker::options(&dev.execution, host_id())
    });
    let own = handlers.iter().flat_map(|file| &file.handlers);
    let own: Vec<String> = own.map(|handler| handler.message.clone()).collect();
    builder = builtin::add(builder, |name| own.iter().any(|taken| taken == name));
    if let Some(handlers) = handlers {
        builder = worker::with(builder, handlers.server(&url))?;
    }
    let worker = builder
        .start(connected.backend().clone(), connected.lease_store())
        .await
        .map_err(worker::cannot_start)?;
    worker.until_ready().await;
    output::hint(
        "drumline dev: everything runs in this process; all operations are gone when it ends",
    );
    output::hint(&format!("the console, in a browser: {url}/"));
    output::line(&format!("ready {url}"))?;

    let failed = async {
        tokio::select! {
            failure = manager.failed() => failure,
            failure = worker.failed() => failure,
        }
    };
    let signal = until_signal(&mut signals, failed).await?;
    let drained = stop(server, worker, maintenance, &manager);
    Ok(drain(&mut signals, signal, drained).await)
}

async fn stop(
    server: Server,
    worker: RunningWorker,
    maintenance: Maintenance,
    manager: &QueueManager,
) {
    server.shutdown(REQUEST_GRACE).await;
    worker.drain().await;
    maintenance.stop().await;
    manager.close().await;
}
