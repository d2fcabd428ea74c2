//! All settings by their names, and how each is applied.
//!
//! The names are those of docs/configuration.md; a test compares.

use drumline_telemetry::LogFormat;

use super::{Settings, values};

/// One setting of a worker.
pub(super) struct Key {
    /// The name in the file.
    pub(super) name: &'static str,
    /// Reads the text of a value, and applies it. Several values of a list are
    /// separated by commas.
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
    /// A TOML list in the file.
    pub(super) is_list: bool,
    /// May stand in `[worker]`, not only outside of any table.
    pub(super) in_table: bool,
}

/// Returns the variable of a setting.
pub(super) fn variable_of(key: &str) -> String {
    format!("DRUMLINE_{}", key.replace('-', "_").to_uppercase())
}

/// A setting of the worker with one value.
const fn key(name: &'static str, set: fn(&mut Settings, &str) -> Result<(), String>) -> Key {
    Key {
        name,
        set,
        is_list: false,
        in_table: true,
    }
}

/// The settings that are applied.
pub(super) const KEYS: &[Key] = &[
    Key {
        in_table: false,
        ..key("log", |settings, text| {
            settings.telemetry.directives = text.to_owned();
            Ok(())
        })
    },
    Key {
        in_table: false,
        ..key("log-format", |settings, text| {
            settings.telemetry.format = match text {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err(values::invalid(text, "text or json")),
            };
            Ok(())
        })
    },
    key("redis-url", |settings, text| {
        values::redis_url(text)?;
        settings.connection.redis_url = text.to_owned();
        Ok(())
    }),
    key("amqp-url", |settings, text| {
        values::amqp_url(text)?;
        settings.connection.amqp_url = text.to_owned();
        Ok(())
    }),
    key("redis-wait-replicas", |settings, text| {
        settings.connection.wait_replicas = values::wait_replicas(text)?;
        Ok(())
    }),
    key("redis-ca-file", |settings, text| {
        settings.connection.redis_encryption.files.ca = Some(text.into());
        Ok(())
    }),
    key("redis-cert", |settings, text| {
        settings.connection.redis_encryption.files.cert = Some(text.into());
        Ok(())
    }),
    key("redis-key", |settings, text| {
        settings.connection.redis_encryption.files.key = Some(text.into());
        Ok(())
    }),
    key("redis-server-name", |settings, text| {
        settings.connection.redis_encryption.server_name = Some(text.to_owned());
        Ok(())
    }),
    key("amqp-ca-file", |settings, text| {
        settings.connection.amqp_encryption.files.ca = Some(text.into());
        Ok(())
    }),
    key("amqp-cert", |settings, text| {
        settings.connection.amqp_encryption.files.cert = Some(text.into());
        Ok(())
    }),
    key("amqp-key", |settings, text| {
        settings.connection.amqp_encryption.files.key = Some(text.into());
        Ok(())
    }),
    key("amqp-server-name", |settings, text| {
        settings.connection.amqp_encryption.server_name = Some(text.to_owned());
        Ok(())
    }),
    key("namespace", |settings, text| {
        values::namespace(text)?;
        settings.connection.namespace = text.to_owned();
        Ok(())
    }),
    key("partitions", |settings, text| {
        settings.connection.partitions = values::partitions_text(text)?;
        Ok(())
    }),
    key("start-patience", |settings, text| {
        settings.connection.start_patience = values::duration(text)?;
        Ok(())
    }),
    Key {
        is_list: true,
        ..key("queue", |settings, text| {
            settings.worker.queues = values::queues(text)?;
            Ok(())
        })
    },
    key("concurrency", |settings, text| {
        settings.worker.concurrency = values::concurrency(text)?;
        Ok(())
    }),
    key("lease", |settings, text| {
        settings.worker.lease = values::lease(text)?;
        Ok(())
    }),
    key("stop-grace", |settings, text| {
        settings.worker.grace = values::duration(text)?;
        Ok(())
    }),
    key("drain-timeout", |settings, text| {
        settings.worker.drain_timeout = values::duration(text)?;
        Ok(())
    }),
    key("max-output", |settings, text| {
        settings.worker.max_output = values::bytes(text, 65_536)?;
        Ok(())
    }),
    key("max-output-succeeded", |settings, text| {
        settings.worker.max_output_succeeded = values::bytes(text, 4_096)?;
        Ok(())
    }),
    key("host-id", |settings, text| {
        text.clone_into(&mut settings.worker.host);
        Ok(())
    }),
    key("run-key-file", |settings, text| {
        settings.worker.run_secrets = Some(values::run_secrets(text)?);
        Ok(())
    }),
    key("unhandled-after", |settings, text| {
        settings.worker.unhandled_after = values::positive_duration(text)?;
        Ok(())
    }),
];

/// The settings of `drumline worker` that have no effect here.
pub(super) const UNUSED: &[&str] = &["handlers", "health-listen"];

/// The settings of other commands, which a shared file may hold.
pub(super) const OF_OTHERS: &[&str] = &[
    "listen",
    "allow-unauthenticated",
    "auth-file",
    "tls-cert",
    "tls-key",
    "tls-client-ca",
    "audit-log",
    "behind-proxy",
    "public-url",
    "max-body",
    "http-header-timeout",
    "http-body-timeout",
    "max-connections",
    "max-event-streams",
    "max-body-memory",
    "max-batches",
    "max-batch-size",
    "quota-file",
    "async-requests",
    "max-queues",
    "forget-queues-after",
    "protect-requests",
    "protect-execution",
    "protect-concurrent",
    "protect-window",
    "protect-anonymous",
    "token-policy",
    "remove-succeeded-after",
    "remove-failed-after",
    "remove-transient-after",
    "max-completed-bytes",
    "webhook-secret",
    "webhook-allow-private",
    "intake",
    "drain-delay",
    "data",
    "server",
    "request-timeout",
    "api-key",
    "api-key-file",
    "ca-file",
    "client-cert",
    "client-key",
    "organization",
    "caller",
    "output",
];

/// The tables of other commands, which a shared file may hold.
pub(super) const OTHER_TABLES: &[&str] = &[
    "dev",
    "standalone",
    "queue-manager",
    "submit",
    "audit",
    "backup",
    "execute",
    "get",
    "explain",
    "history",
    "attempts",
    "list",
    "wait",
    "events",
    "cancel",
    "pause",
    "resume",
    "pauses",
    "actions",
    "freeze",
    "thaw",
    "postpone",
    "run-again",
    "update",
    "delete",
    "purge",
    "key",
    "top",
    "stats",
    "failures",
    "mute",
    "unmute",
    "workers",
    "whoami",
    "quotas",
    "doctor",
    "health",
    "check",
    "index",
    "export",
    "import",
    "check-handler",
    "bench",
    "drill",
    "completions",
    "config",
];
