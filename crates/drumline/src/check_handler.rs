//! `drumline check-handler`: holds a handler to the contract of docs/handlers.md.
//!
//! Everything runs in this process on the embedded backend, as in `drumline dev`.
//! The handler is started for operations of its own, and is let go, killed, paused
//! and cancelled. Each check is an operation, because a run shows one of these
//! things.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use drumline_backend::Ids;
use drumline_client::{Client, OperationView};
use drumline_protocol::OperationId;
use drumline_queue_manager::{Maintenance, Options, QueueManager, Server};
use drumline_worker::handlers_file::HandlersFile;
use drumline_worker::{RunningWorker, Worker};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::tools::CheckHandler;
use crate::exit::{Exit, Failure, Result};
use crate::output::Output;
use crate::run::backend::Connected;
use crate::run::worker;

/// The lease of the checks: a killed worker's operation goes on after it.
const LEASE: Duration = Duration::from_secs(1);
/// The pause between two looks at an operation.
const LOOK: Duration = Duration::from_millis(20);
/// The message name of the operations.
const MESSAGE: &str = "CheckHandler";

/// The result of one check.
#[derive(Debug, Serialize)]
struct Checked {
    /// The rule that was checked.
    check: &'static str,
    /// `ok`, `wrong`, or `skipped`.
    result: &'static str,
    /// The observation, for people.
    detail: String,
}

/// Checks a handler, and prints what was found.
pub(crate) async fn run(check: &CheckHandler, out: Output) -> Result<Exit> {
    let harness = Harness::start(check).await?;
    let mut is_wrong = false;
    for rule in [
        Rule::Succeeds,
        Rule::StartsAgain,
        Rule::Pauses,
        Rule::Cancels,
    ] {
        let checked = harness.check(rule).await?;
        is_wrong |= checked.result == "wrong";
        if out.is_json() {
            out.json(&checked)?;
        } else {
            let Checked {
                check,
                result,
                detail,
            } = checked;
            out.line(&format!("{result:8}{check}: {detail}"))?;
        }
    }
    harness.stop().await;
    Ok(if is_wrong { Exit::Failed } else { Exit::Ok })
}

/// The rules of the contract that can be seen from outside.
#[derive(Clone, Copy)]
enum Rule {
    Succeeds,
    StartsAgain,
    Pauses,
    Cancels,
}

impl Rule {
    const fn words(self) -> &'static str {
        match self {
            Self::Succeeds => "succeeds",
            Self::StartsAgain => "succeeds after its worker was killed",
            Self::Pauses => "stops for a pause, and goes on",
            Self::Cancels => "stops for a cancel",
        }
    }

    fn is(self, result: &'static str, detail: impl Into<String>) -> Checked {
        Checked {
            check: self.words(),
            result,
            detail: detail.into(),
        }
    }

    fn ok(self, detail: impl Into<String>) -> Checked {
        self.is("ok", detail)
    }

    fn wrong(self, detail: impl Into<String>) -> Checked {
        self.is("wrong", detail)
    }
}

/// The parts of Drumline that the handler runs under.
struct Harness<'a> {
    settings: &'a CheckHandler,
    connected: Connected,
    manager: QueueManager,
    maintenance: Maintenance,
    server: Server,
    client: Client,
    file: HandlersFile,
}

impl<'a> Harness<'a> {
    async fn start(settings: &'a CheckHandler) -> Result<Self> {
        let connected = Connected::embedded();
        let options = Options::default();
        let manager = QueueManager::new(connected.backend().clone(), Ids::random(), options);
        let maintenance = Maintenance::start(&manager);
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(any_port, manager.clone())
            .await
            .map_err(|error| Failure::caused(Exit::Internal, error))?;
        let url = format!("http://{}", server.address());
        let client = Client::builder(&url).build();
        let client = client.map_err(|error| Failure::caused(Exit::Internal, error))?;
        let directory =
            std::env::current_dir().map_err(|error| Failure::caused(Exit::Internal, error))?;
        let file = handler(settings, &directory)?.server(&url);
        Ok(Self {
            settings,
            connected,
            manager,
            maintenance,
            server,
            client,
            file,
        })
    }

    async fn stop(self) {
        self.server.shutdown(Duration::ZERO).await;
        self.maintenance.stop().await;
        self.manager.close().await;
    }

    async fn worker(&self) -> Result<RunningWorker> {
        let builder = Worker::builder()
            .lease(LEASE)
            .concurrency(1)
            .grace(self.settings.grace);
        let worker = worker::with(builder, self.file.clone())?
            .start(
                self.connected.backend().clone(),
                self.connected.lease_store(),
            )
            .await
            .map_err(worker::cannot_start)?;
        worker.until_ready().await;
        Ok(worker)
    }

    async fn check(&self, rule: Rule) -> Result<Checked> {
        let data: Value = serde_json::from_str(&self.settings.data)
            .map_err(|error| Failure::caused(Exit::Data, error))?;
        let request = json!({"messageName": MESSAGE, "data": data});
        let created = self.client.create_json(request.to_string(), None).await?;
        let id = created.operation.id;
        let worker = self.worker().await?;
        self.watch(rule, &id, worker).await
    }

    /// Watches the operation of one check to its end.
    async fn watch(&self, rule: Rule, id: &str, worker: RunningWorker) -> Result<Checked> {
        let begun = Instant::now();
        if let Rule::Succeeds = rule {
            let seen = self.settled(id).await?;
            worker.drain().await;
            return Ok(self.success(rule, seen.as_ref(), begun));
        }
        let started = self.until(id, |seen| seen.start_count > 0).await?;
        tokio::time::sleep(self.settings.stop_after).await;
        let seen = self.get(id).await?;
        if started.is_none() || seen.state_code == COMPLETED {
            worker.drain().await;
            return Ok(rule.is(
                "skipped",
                "it ended before it could be interrupted; give --data that takes longer, or a shorter --stop-after",
            ));
        }
        match rule {
            Rule::Succeeds | Rule::StartsAgain => {
                // As a crash: the command is killed, and nothing is written.
                worker.stop_now().await;
                let worker = self.worker().await?;
                let seen = self.settled(id).await?;
                worker.drain().await;
                Ok(self.success(rule, seen.as_ref(), begun))
            }
            Rule::Pauses | Rule::Cancels => {
                let checked = self.interrupted(rule, id).await?;
                worker.drain().await;
                Ok(checked)
            }
        }
    }

    /// Pauses or cancels the operation, and looks how its handler takes that.
    async fn interrupted(&self, rule: Rule, id: &str) -> Result<Checked> {
        let asked = Instant::now();
        let answer = match rule {
            Rule::Cancels => self.client.cancel(id).await,
            Rule::Succeeds | Rule::StartsAgain | Rule::Pauses => self.client.pause(id).await,
        };
        answer?;
        let stopped = self.until(id, |seen| seen.state_code != LOCKED).await?;
        let took = asked.elapsed();
        let Some(seen) = stopped else {
            return Ok(rule.wrong("it has not stopped, and was not killed either"));
        };
        // A web service is not asked to stop: the grace is for its answer.
        if took >= self.settings.grace && self.settings.http.is_none() {
            return Ok(rule.wrong(format!(
                "it ignores SIGTERM, and was killed after the grace of {:?}",
                self.settings.grace
            )));
        }
        match (rule, seen.status.as_ref()) {
            (Rule::Cancels, "Canceled") => Ok(rule.ok(format!("it stopped within {took:.1?}"))),
            (_, "Succeeded") => Ok(rule.ok("it had come to its end, and said so")),
            (Rule::Pauses, "Waiting") => {
                let has_checkpoint = self.has_checkpoint(id).await?;
                self.client.resume(id).await?;
                let seen = self.settled(id).await?;
                let mut checked = self.success(rule, seen.as_ref(), asked);
                if checked.result == "ok" {
                    let from = if has_checkpoint {
                        "went on from its checkpoint"
                    } else {
                        "began again: it had saved no checkpoint"
                    };
                    checked.detail = format!("it stopped within {took:.1?}, and {from}");
                }
                Ok(checked)
            }
            (_, status) => Ok(rule.wrong(format!(
                "it was asked to stop, and the operation is {status}: {}",
                reason(&seen)
            ))),
        }
    }

    fn success(&self, rule: Rule, seen: Option<&OperationView>, begun: Instant) -> Checked {
        let Some(seen) = seen else {
            return rule.wrong(format!(
                "it has not ended within {:?}; --limit sets another time",
                self.settings.limit
            ));
        };
        if seen.status == "Succeeded" {
            let took = begun.elapsed();
            return rule.ok(format!(
                "{} started, {took:.1?} in all",
                times(seen.start_count)
            ));
        }
        rule.wrong(format!(
            "the operation is {}: {}",
            seen.status,
            reason(seen)
        ))
    }

    /// Returns true if a run of the operation has saved a checkpoint. The API does not
    /// show checkpoints, so the store is asked.
    async fn has_checkpoint(&self, id: &str) -> Result<bool> {
        let id: OperationId = id
            .parse()
            .map_err(|error| Failure::caused(Exit::Internal, anyhow::Error::new(error)))?;
        let found = self.connected.backend().store.get(&[id]).await;
        let found = found.map_err(|error| Failure::caused(Exit::Internal, error))?;
        let operation = found.into_iter().next().flatten();
        Ok(operation.is_some_and(|operation| operation.report.checkpoint.is_some()))
    }

    async fn get(&self, id: &str) -> Result<OperationView> {
        Ok(self.client.get(id).await?)
    }

    /// Waits until the operation is Completed, or waits for a person. `None` if that
    /// does not happen in time.
    async fn settled(&self, id: &str) -> Result<Option<OperationView>> {
        let is_settled = |seen: &OperationView| {
            let waits = seen.state_code == SUSPENDED && seen.postpone_until.is_none();
            waits || seen.state_code == COMPLETED
        };
        self.until(id, is_settled).await
    }

    async fn until(
        &self,
        id: &str,
        is_wanted: impl Fn(&OperationView) -> bool,
    ) -> Result<Option<OperationView>> {
        let end = Instant::now() + self.settings.limit;
        loop {
            let seen = self.get(id).await?;
            if is_wanted(&seen) {
                return Ok(Some(seen));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

const SUSPENDED: u8 = 1;
const LOCKED: u8 = 2;
const COMPLETED: u8 = 3;

/// The handler as a file would have it.
fn handler(settings: &CheckHandler, directory: &Path) -> Result<HandlersFile> {
    let grace = humantime::format_duration(settings.grace).to_string();
    // JSON strings are TOML strings.
    let action = match &settings.http {
        Some(url) => format!("http = {}", Value::from(url.as_str())),
        None => format!("command = {}", json!(settings.command)),
    };
    let message = Value::from(MESSAGE);
    let text = format!("[[handler]]\nmessage = {message}\ngrace = {grace:?}\n{action}\n");
    HandlersFile::parse(&text, directory).map_err(|error| Failure::caused(Exit::Usage, error))
}

fn reason(seen: &OperationView) -> &str {
    let text = seen.message.as_deref().filter(|text| !text.is_empty());
    text.or(seen.friendly_message.as_deref())
        .unwrap_or("it gives no reason")
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}
