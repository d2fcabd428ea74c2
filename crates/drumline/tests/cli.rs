//! The program as users meet it: the built binary, its answers, its exit codes.
//!
//! Client commands talk to a `drumline dev` (or `standalone`) that each test starts for
//! itself, on a port of its own. Only `amqp`, `amqp_identities`, `bench`, `check`, `critical`,
//! `limits`, `metrics`, `otlp`, `server_tls`, `servers`, `transfer` and `watching` need Redis and
//! RabbitMQ.

#[path = "cli/actions.rs"]
mod actions;
#[path = "cli/amqp.rs"]
mod amqp;
#[path = "cli/amqp_identities.rs"]
mod amqp_identities;
#[path = "cli/attempts.rs"]
mod attempts;
#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/bulk.rs"]
mod bulk;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/completions.rs"]
mod completions;
#[path = "cli/control.rs"]
mod control;
#[path = "cli/critical.rs"]
mod critical;
#[path = "cli/dev.rs"]
mod dev;
#[path = "cli/encrypted.rs"]
mod encrypted;
#[path = "cli/events.rs"]
mod events;
#[path = "cli/execute.rs"]
mod execute;
#[path = "cli/hardening.rs"]
mod hardening;
#[path = "cli/health.rs"]
mod health;
#[path = "cli/history.rs"]
mod history;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/library.rs"]
mod library;
#[path = "cli/limits.rs"]
mod limits;
#[path = "cli/many_connections.rs"]
mod many_connections;
#[path = "cli/metrics.rs"]
mod metrics;
#[path = "cli/otlp.rs"]
mod otlp;
#[path = "cli/outside.rs"]
mod outside;
#[path = "cli/pauses.rs"]
mod pauses;
#[path = "cli/previews.rs"]
mod previews;
#[path = "cli/processes.rs"]
mod processes;
#[path = "cli/rotation.rs"]
mod rotation;
#[path = "cli/run.rs"]
mod run;
#[path = "cli/run_tokens.rs"]
mod run_tokens;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "cli/selecting.rs"]
mod selecting;
#[path = "cli/server_tls.rs"]
mod server_tls;
#[path = "cli/servers.rs"]
mod servers;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/standalone.rs"]
mod standalone;
#[path = "cli/stats.rs"]
mod stats;
#[path = "cli/submit.rs"]
mod submit;
#[path = "cli/transfer.rs"]
mod transfer;
#[path = "cli/watching.rs"]
mod watching;
#[path = "cli/workers.rs"]
mod workers;
