//! Flags of the processes that stay: `dev`, `standalone`, `queue-manager`, `worker`.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use drumline_protocol::QueueName;
use reqwest::Url;

use super::completion_options::CompletionOptions;
use super::limits::Limits;
use super::server_tls::{AmqpTls, RedisTls};
use super::values;

pub(crate) const DEV_HELP: &str = "\
Prints `ready http://…` on stdout when it takes requests. The log is on stderr.

Besides the handlers of --handlers there are three:
  Echo    answers with its data at once
  Sleep   takes {\"seconds\": 5} of time, with progress; after a pause it sleeps the rest
  Fail    fails; {\"retry\": true} asks for a retry, {\"suspend\": true} for a person

Examples:
  drumline dev
  drumline dev --handlers handlers.toml --concurrency 8
  drumline dev --listen 127.0.0.1:0        # takes a free port; the `ready` line has it";

pub(crate) const STANDALONE_HELP: &str = "\
Prints `ready http://…` (or https) on stdout when it takes requests. The log is on stderr. It is queue manager, \
worker and console in one process, with the store in the folder of --data, which one process at a time may use. \
What was answered survives the end of the process, `kill -9`, and a power cut: answers wait until the disk has \
what they tell of. After a start, everything goes on; what was running when the process was killed is started \
again after --lease. SIGTERM or SIGINT drains. A second signal ends it at once.

All operations are in memory too, about 2.5 KiB each beside their data. Less than 64 MiB of free disk refuses new \
operations, and less than 32 MiB starts none; all goes on when there is room. docs/standalone.md says how to back \
it up, and what it does not do.

Without --handlers, it has the three handlers of `drumline dev`, to try it: Echo, Sleep and Fail.

Examples:
  drumline standalone --data ./data
  drumline standalone --data /var/lib/drumline --handlers handlers.toml --concurrency 8
  drumline standalone --data /var/lib/drumline --handlers handlers.toml --listen 0.0.0.0:8443 \\
    --auth-file auth.toml --tls-cert tls.pem --tls-key tls.key";

pub(crate) const QUEUE_MANAGER_HELP: &str = "\
Prints `ready http://…` (or https) on stdout when it takes requests. The log is on stderr. Any number of queue managers may run \
side by side. SIGTERM or SIGINT drains: /readyz says so, requests are taken for --drain-delay more, and running ones \
are answered. A second signal ends it at once.

Examples:
  drumline queue-manager --redis-url redis://redis:6379 --amqp-url amqp://user:password@rabbit:5672
  drumline queue-manager --listen 0.0.0.0:8443 --auth-file auth.toml --tls-cert tls.pem --tls-key tls.key
  drumline queue-manager --listen 0.0.0.0:8080 --auth-file auth.toml --behind-proxy   # keys; a proxy encrypts
  drumline queue-manager --listen 0.0.0.0:8080 --allow-unauthenticated    # behind a gateway that authenticates";

pub(crate) const WORKER_HELP: &str = "\
Prints `ready` on stdout when it takes work. The log is on stderr. SIGTERM or SIGINT drains: it starts nothing new, \
lets running operations end within --drain-timeout, and gives the rest back, which uses up no retry. A \
second signal ends it at once.

A handlers file:
  [[handler]]
  message = \"ImportSolution\"          # exact name, or \"*\" for all others
  command = [\"./import.sh\", \"--strict\"]
  timeout = \"30m\"

Examples:
  drumline worker --handlers handlers.toml
  drumline worker --handlers handlers.toml --queue imports --queue default --concurrency 8";

/// Where Redis and RabbitMQ are.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Servers")]
pub(crate) struct Servers {
    /// Redis connection URL (state and locks); rediss:// encrypts, `redis+sentinel://HOST,HOST/NAME` asks sentinels, `redis+cluster://HOST,HOST` is a Redis Cluster
    #[arg(
        long,
        env = "DRUMLINE_REDIS_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379",
        value_parser = values::redis_url
    )]
    pub(crate) redis_url: String,
    /// RabbitMQ connection URL (delivery), or several of one cluster, separated by commas; amqps:// encrypts
    #[arg(
        long,
        env = "DRUMLINE_AMQP_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "amqp://127.0.0.1:5672",
        value_parser = values::amqp_url
    )]
    pub(crate) amqp_url: String,
    /// Number of replicas of Redis that must have received a create or a claim before it counts; see docs/servers.md
    #[arg(
        long,
        env = "DRUMLINE_REDIS_WAIT_REPLICAS",
        value_name = "NUMBER",
        default_value = "0"
    )]
    pub(crate) redis_wait_replicas: u16,
    #[command(flatten)]
    pub(crate) redis_tls: RedisTls,
    #[command(flatten)]
    pub(crate) amqp_tls: AmqpTls,
    /// Prefix of keys, queues and exchanges, which lets installations share servers
    #[arg(
        long,
        env = "DRUMLINE_NAMESPACE",
        value_name = "NAME",
        default_value = "drumline",
        value_parser = values::namespace
    )]
    pub(crate) namespace: String,
}

/// How a service connects to its servers.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Servers")]
pub(crate) struct ServerConnection {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Number of partitions (and lanes per queue); fixed once the namespace is used
    #[arg(
        long,
        env = "DRUMLINE_PARTITIONS",
        value_name = "NUMBER",
        default_value = "64",
        value_parser = clap::value_parser!(u16).range(1..=4096)
    )]
    pub(crate) partitions: u16,
    /// Time to wait at start for unavailable servers, before ending with exit code 69
    #[arg(
        long,
        env = "DRUMLINE_START_PATIENCE",
        value_name = "SPAN",
        default_value = "5m",
        value_parser = values::duration
    )]
    pub(crate) start_patience: Duration,
}

/// Where HTTP is served.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct Http {
    /// Address and port of the HTTP API; port 0 takes a free port
    #[arg(
        long,
        env = "DRUMLINE_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    pub(crate) listen: SocketAddr,
    /// TOML file with the API keys that are let in; see `drumline key --help`. Read again when it changes
    #[arg(long, env = "DRUMLINE_AUTH_FILE", value_name = "FILE")]
    pub(crate) auth_file: Option<PathBuf>,
    /// File with the secrets of run tokens, the same for all queue managers and workers; see docs/security.md
    #[arg(long, env = "DRUMLINE_RUN_KEY_FILE", value_name = "FILE")]
    pub(crate) run_key_file: Option<PathBuf>,
    /// File to which a line of JSON is added for each change and each denied request [default: none]
    #[arg(long, env = "DRUMLINE_AUDIT_LOG", value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    /// PEM file with the certificate of the HTTP API, and the CAs between it and a root. Read again when it changes
    #[arg(long, env = "DRUMLINE_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file with the key of --tls-cert. Read again when it changes
    #[arg(long, env = "DRUMLINE_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// PEM file with the CAs of clients: each client then needs a certificate of one of them
    #[arg(long, env = "DRUMLINE_TLS_CLIENT_CA", value_name = "FILE")]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// Allow --listen to serve other machines without --tls-cert: a proxy in front encrypts
    #[arg(
        long,
        env = "DRUMLINE_BEHIND_PROXY",
        value_name = "BOOL",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        value_parser = BoolishValueParser::new()
    )]
    pub(crate) behind_proxy: bool,
    /// URL under which people reach the service; without --auth-file, other names are refused on loopback
    #[arg(
        long,
        env = "DRUMLINE_PUBLIC_URL",
        value_name = "URL",
        value_parser = values::base_url
    )]
    pub(crate) public_url: Option<Url>,
    /// Allow --listen to serve other machines without --auth-file: a gateway in front authenticates
    // Not a plain switch: the command line must be able to turn off what the
    // file or the environment turned on.
    #[arg(
        long,
        env = "DRUMLINE_ALLOW_UNAUTHENTICATED",
        value_name = "BOOL",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        value_parser = BoolishValueParser::new()
    )]
    pub(crate) allow_unauthenticated: bool,
    /// Maximum size of a request body, in bytes; larger ones are answered 413
    #[arg(
        long,
        env = "DRUMLINE_MAX_BODY",
        value_name = "BYTES",
        default_value = "1048576",
        value_parser = clap::value_parser!(u32).range(1024..=33_554_432)
    )]
    pub(crate) max_body: u32,
    /// Time until the headers of a connection's next request are complete, idle time included
    #[arg(
        long,
        env = "DRUMLINE_HTTP_HEADER_TIMEOUT",
        value_name = "SPAN",
        default_value = "75s",
        value_parser = values::duration
    )]
    pub(crate) http_header_timeout: Duration,
    /// Time that the body of a request may take; slower ones are answered 408
    #[arg(
        long,
        env = "DRUMLINE_HTTP_BODY_TIMEOUT",
        value_name = "SPAN",
        default_value = "1m",
        value_parser = values::duration
    )]
    pub(crate) http_body_timeout: Duration,
    /// Maximum number of open connections, event streams and waiting requests included; others wait
    #[arg(
        long,
        env = "DRUMLINE_MAX_CONNECTIONS",
        value_name = "NUMBER",
        default_value = "4096"
    )]
    pub(crate) max_connections: NonZeroU16,
    /// Maximum number of event streams; further ones are answered 503
    #[arg(
        long,
        env = "DRUMLINE_MAX_EVENT_STREAMS",
        value_name = "NUMBER",
        default_value = "256"
    )]
    pub(crate) max_event_streams: u16,
    /// Memory for request bodies, in bytes; requests that find no room within 5s are answered 503
    #[arg(
        long,
        env = "DRUMLINE_MAX_BODY_MEMORY",
        value_name = "BYTES",
        default_value = "268435456"
    )]
    pub(crate) max_body_memory: u64,
}

/// How operations are executed.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Execution")]
pub(crate) struct Execution {
    /// TOML file that maps message names to commands and web services
    #[arg(long, env = "DRUMLINE_HANDLERS", value_name = "FILE")]
    pub(crate) handlers: Option<PathBuf>,
    /// Queue to serve; repeat it for several
    #[arg(
        long,
        env = "DRUMLINE_QUEUE",
        value_name = "QUEUE",
        default_value = "default",
        value_delimiter = ','
    )]
    pub(crate) queue: Vec<QueueName>,
    /// Maximum number of operations that run at the same time
    #[arg(
        long,
        env = "DRUMLINE_CONCURRENCY",
        value_name = "NUMBER",
        default_value = "16"
    )]
    pub(crate) concurrency: NonZeroU16,
    /// Time without a renewal after which other workers get the operations, 500ms to 1h
    #[arg(
        long,
        env = "DRUMLINE_LEASE",
        value_name = "SPAN",
        default_value = "30s",
        value_parser = lease
    )]
    pub(crate) lease: Duration,
    /// Time that a handler has to stop when asked; then it is dropped, a command killed
    #[arg(
        long,
        env = "DRUMLINE_STOP_GRACE",
        value_name = "SPAN",
        default_value = "10s",
        value_parser = values::duration
    )]
    pub(crate) stop_grace: Duration,
    /// Time that running operations have to end when the process drains, --stop-grace included
    #[arg(
        long,
        env = "DRUMLINE_DRAIN_TIMEOUT",
        value_name = "SPAN",
        default_value = "25s",
        value_parser = values::duration
    )]
    pub(crate) drain_timeout: Duration,
    /// Bytes kept of what an attempt has printed, at most 65536; 0 keeps none of any attempt
    #[arg(
        long,
        env = "DRUMLINE_MAX_OUTPUT",
        value_name = "BYTES",
        default_value = "65536",
        value_parser = clap::value_parser!(u32).range(0..=65_536)
    )]
    pub(crate) max_output: u32,
    /// Bytes kept of what an attempt has printed that has succeeded, at most 4096; 0 keeps none
    #[arg(
        long,
        env = "DRUMLINE_MAX_OUTPUT_SUCCEEDED",
        value_name = "BYTES",
        default_value = "1024",
        value_parser = clap::value_parser!(u32).range(0..=4_096)
    )]
    pub(crate) max_output_succeeded: u32,
}

/// Reads a lease: long enough that a slow disk is not taken for a death, short
/// enough that a death is noticed the same hour.
pub(crate) fn lease(text: &str) -> Result<Duration, String> {
    let lease = values::duration(text)?;
    if (drumline_worker::LEASE_MIN..=Duration::from_secs(3600)).contains(&lease) {
        Ok(lease)
    } else {
        let shortest = humantime::format_duration(drumline_worker::LEASE_MIN);
        Err(format!("expected {shortest} to 1h"))
    }
}

/// `drumline dev`, and all but the store of `drumline standalone`.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    #[command(flatten)]
    pub(crate) http: Http,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) completion: CompletionOptions,
    #[command(flatten)]
    pub(crate) execution: Execution,
}

/// `drumline standalone`.
#[derive(Debug, Args)]
pub(crate) struct Standalone {
    /// Folder of the store; required. It is made if it is not there, and one process at a time may use it
    #[arg(
        long,
        env = "DRUMLINE_DATA",
        value_name = "FOLDER",
        help_heading = "Store"
    )]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) process: Dev,
}

/// `drumline queue-manager`.
#[derive(Debug, Args)]
pub(crate) struct QueueManager {
    #[command(flatten)]
    pub(crate) http: Http,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) completion: CompletionOptions,
    #[command(flatten)]
    pub(crate) connection: ServerConnection,
    /// Take requests over AMQP, too, from the exchange NAMESPACE.requests
    #[arg(
        long,
        env = "DRUMLINE_INTAKE",
        value_name = "BOOL",
        default_value = "true",
        value_parser = BoolishValueParser::new(),
        action = clap::ArgAction::Set,
        help_heading = "Servers"
    )]
    pub(crate) intake: bool,
    /// Time between the end of readiness and the end of new connections, when the process drains
    #[arg(
        long,
        env = "DRUMLINE_DRAIN_DELAY",
        value_name = "SPAN",
        default_value = "5s",
        value_parser = values::duration,
        help_heading = "HTTP"
    )]
    pub(crate) drain_delay: Duration,
}

/// `drumline worker`.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    pub(crate) execution: Execution,
    #[command(flatten)]
    pub(crate) connection: ServerConnection,
    /// Address and port of /healthz, /readyz and /metrics, for an orchestrator and for Prometheus [default: not served]
    #[arg(
        long,
        env = "DRUMLINE_HEALTH_LISTEN",
        value_name = "ADDRESS",
        help_heading = "HTTP"
    )]
    pub(crate) health_listen: Option<SocketAddr>,
    /// Name of this worker, shown as hostId [default: host name and process id]
    #[arg(
        long,
        env = "DRUMLINE_HOST_ID",
        value_name = "NAME",
        help_heading = "Execution"
    )]
    pub(crate) host_id: Option<String>,
    /// File with the secrets of run tokens, the same for all queue managers and workers; see docs/security.md
    #[arg(
        long,
        env = "DRUMLINE_RUN_KEY_FILE",
        value_name = "FILE",
        help_heading = "Execution"
    )]
    pub(crate) run_key_file: Option<PathBuf>,
    /// Time that an operation waits for a worker with a handler before it is suspended
    #[arg(
        long,
        env = "DRUMLINE_UNHANDLED_AFTER",
        value_name = "SPAN",
        default_value = "60s",
        value_parser = values::positive_duration,
        help_heading = "Execution"
    )]
    pub(crate) unhandled_after: Duration,
}
