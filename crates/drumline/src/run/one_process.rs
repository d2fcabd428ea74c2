//! Manager, maintenance, worker and console in one process. Without RabbitMQ there are
//! no requests over AMQP.

use drumline_auth::RunSecrets;
use drumline_backend::Ids;
use drumline_process::{Signals, host_id};
use drumline_queue_manager::{Maintenance, QueueManager, Server};
use drumline_worker::handlers_file::HandlersFile;
use drumline_worker::{Options, RunningWorker, Worker};

use super::backend::Connected;
use super::{
    REQUEST_GRACE, builtin, completion_options, drain, failed, listen, queue_manager, worker,
};
use crate::cli::service::Dev;
use crate::exit::{Exit, Failure, Result};
use crate::output;

/// One process that is all of them.
#[derive(Debug)]
pub(crate) struct OneProcess<'a> {
    pub(crate) flags: &'a Dev,
    pub(crate) connected: Connected,
}

/// The handlers of its worker.
#[derive(Debug)]
pub(crate) struct Handlers {
    /// Those of the file, if there is one.
    pub(crate) own: Option<HandlersFile>,
    /// Those of the program, for people who try it.
    pub(crate) has_built_in: bool,
}

impl OneProcess<'_> {
    /// Runs until a signal. Calls `hint` when everything is ready.
    ///
    /// # Errors
    /// When something cannot be started, a critical task has ended, or with what `broken`
    /// resolves to.
    pub(crate) async fn run(
        self,
        mut signals: Signals,
        handlers: Handlers,
        hint: impl FnOnce(),
        broken: impl Future<Output = Failure>,
    ) -> Result<Exit> {
        let connected = &self.connected;
        let Dev {
            http,
            limits,
            completion,
            ..
        } = self.flags;
        let runs = self.run_secrets()?;
        let options = queue_manager::options(http, limits, completion, runs.clone())?;
        let manager = QueueManager::new(connected.backend().clone(), Ids::random(), options);
        let maintenance = Maintenance::start_with(
            &manager,
            &completion_options::maintenance(completion, limits),
        );
        // The server comes first: commands are given its address.
        let server = Server::start(http.listen, manager.clone())
            .await
            .map_err(|error| listen::cannot_listen(http.listen, error))?;
        let url = server.url();
        let worker = self.start_worker(handlers, runs, &url).await?;
        worker.until_ready().await;
        hint();
        output::hint(&format!("the console, in a browser: {url}/"));
        output::line(&format!("ready {url}"))?;

        let signal = tokio::select! {
            failure = manager.failed() => return Err(failed(failure)),
            failure = worker.failed() => return Err(failed(failure)),
            failure = broken => return Err(failure),
            signal = signals.next() => signal,
        };
        let drained = async {
            stop(server, worker, maintenance, &manager).await;
            connected.disconnect().await;
        };
        Ok(drain(&mut signals, signal, drained).await)
    }

    /// The secrets of run tokens: manager and worker are this process, so that it has its
    /// own if there is no file.
    fn run_secrets(&self) -> Result<Option<RunSecrets>> {
        match listen::run_secrets(self.flags.http.run_key_file.as_deref())? {
            None if self.flags.http.auth_file.is_some() => {
                let random = RunSecrets::random().map_err(|_unspecified| {
                    Failure::new(
                        Exit::Internal,
                        "the operating system gives no random numbers",
                    )
                });
                Ok(Some(random?))
            }
            read => Ok(read),
        }
    }

    async fn start_worker(
        &self,
        handlers: Handlers,
        runs: Option<RunSecrets>,
        url: &str,
    ) -> Result<RunningWorker> {
        let mut builder = Worker::builder().options(Options {
            run_secrets: runs,
            ..worker::options(&self.flags.execution, host_id())
        });
        let Handlers { own, has_built_in } = handlers;
        if has_built_in {
            let names = own.iter().flat_map(|file| &file.handlers);
            let names: Vec<String> = names.map(|handler| handler.message.clone()).collect();
            builder = builtin::add(builder, |name| names.iter().any(|taken| taken == name));
        }
        if let Some(own) = own {
            builder = worker::with(builder, own.server(url))?;
        }
        builder
            .start(
                self.connected.backend().clone(),
                self.connected.lease_store(),
            )
            .await
            .map_err(worker::cannot_start)
    }
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
