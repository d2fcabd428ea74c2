//! Flags for encrypted connections to Redis and RabbitMQ.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use drumline_tls::{ClientFiles, Encryption};

use super::service::Servers;

/// How a Redis at `rediss://…` is verified.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Servers")]
pub(crate) struct RedisTls {
    /// PEM file with the CAs of Redis, for rediss:// [default: those of the system]
    #[arg(long, env = "DRUMLINE_REDIS_CA_FILE", value_name = "FILE")]
    pub(crate) redis_ca_file: Option<PathBuf>,
    /// PEM file with the certificate to show to Redis; needs --redis-key. Read for each connection
    #[arg(long, env = "DRUMLINE_REDIS_CERT", value_name = "FILE")]
    pub(crate) redis_cert: Option<PathBuf>,
    /// PEM file with the key of --redis-cert
    #[arg(long, env = "DRUMLINE_REDIS_KEY", value_name = "FILE")]
    pub(crate) redis_key: Option<PathBuf>,
    /// Name that the certificate of Redis must be for [default: the host of --redis-url]
    #[arg(long, env = "DRUMLINE_REDIS_SERVER_NAME", value_name = "NAME")]
    pub(crate) redis_server_name: Option<String>,
}

impl RedisTls {
    /// The settings in the adapter's type.
    pub(crate) fn encryption(&self) -> Encryption {
        Encryption {
            files: ClientFiles {
                ca: self.redis_ca_file.clone(),
                cert: self.redis_cert.clone(),
                key: self.redis_key.clone(),
            },
            server_name: self.redis_server_name.clone(),
        }
    }
}

/// How a RabbitMQ at `amqps://…` is verified.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Servers")]
pub(crate) struct AmqpTls {
    /// PEM file with the CAs of RabbitMQ, for amqps:// [default: those of the system]
    #[arg(long, env = "DRUMLINE_AMQP_CA_FILE", value_name = "FILE")]
    pub(crate) amqp_ca_file: Option<PathBuf>,
    /// PEM file with the certificate to show to RabbitMQ; needs --amqp-key. Read for each connection
    #[arg(long, env = "DRUMLINE_AMQP_CERT", value_name = "FILE")]
    pub(crate) amqp_cert: Option<PathBuf>,
    /// PEM file with the key of --amqp-cert
    #[arg(long, env = "DRUMLINE_AMQP_KEY", value_name = "FILE")]
    pub(crate) amqp_key: Option<PathBuf>,
    /// Name that the certificate of RabbitMQ must be for [default: the host of --amqp-url]
    #[arg(long, env = "DRUMLINE_AMQP_SERVER_NAME", value_name = "NAME")]
    pub(crate) amqp_server_name: Option<String>,
}

impl AmqpTls {
    /// The settings in the adapter's type.
    pub(crate) fn encryption(&self) -> Encryption {
        Encryption {
            files: ClientFiles {
                ca: self.amqp_ca_file.clone(),
                cert: self.amqp_cert.clone(),
                key: self.amqp_key.clone(),
            },
            server_name: self.amqp_server_name.clone(),
        }
    }
}

impl Servers {
    /// The variables that give another process the same TLS.
    pub(crate) fn tls_variables(&self) -> Vec<(&'static str, OsString)> {
        let Self {
            redis_tls: redis,
            amqp_tls: amqp,
            ..
        } = self;
        let path = |path: &Option<PathBuf>| path.clone().map(PathBuf::into_os_string);
        let text = |text: &Option<String>| text.clone().map(OsString::from);
        [
            ("DRUMLINE_REDIS_CA_FILE", path(&redis.redis_ca_file)),
            ("DRUMLINE_REDIS_CERT", path(&redis.redis_cert)),
            ("DRUMLINE_REDIS_KEY", path(&redis.redis_key)),
            ("DRUMLINE_REDIS_SERVER_NAME", text(&redis.redis_server_name)),
            ("DRUMLINE_AMQP_CA_FILE", path(&amqp.amqp_ca_file)),
            ("DRUMLINE_AMQP_CERT", path(&amqp.amqp_cert)),
            ("DRUMLINE_AMQP_KEY", path(&amqp.amqp_key)),
            ("DRUMLINE_AMQP_SERVER_NAME", text(&amqp.amqp_server_name)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}
