//! The check of RabbitMQ: its release, that it takes messages, and that it has
//! quorum queues.

use std::error::Error as _;
use std::time::Duration;

use drumline_backend::Broker as _;
use drumline_backend_rabbitmq::{Options, RabbitBroker};
use drumline_process::masked;
use tokio::time::timeout;

use super::Finding;
use super::reasons_with;
use crate::cli::service::Servers;
use crate::output::reasons;
use crate::run::backend::servers::rabbit_options;

const SUBJECT: &str = "RabbitMQ";
/// The time that declaring a queue may take: an election of its leader
/// included.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn check(servers: &Servers) -> Vec<Finding> {
    let options = match rabbit_options(servers, "doctor") {
        Ok(options) => options,
        Err(failure) => return vec![Finding::bad(SUBJECT, reasons(&failure.error))],
    };
    let broker = RabbitBroker::start(options.clone());
    let findings = examine(&broker, &options, servers).await;
    broker.stop().await;
    findings
}

async fn examine(broker: &RabbitBroker, options: &Options, servers: &Servers) -> Vec<Finding> {
    let url = masked(&servers.amqp_url);
    let greeting = match broker.inspect().await {
        Ok(greeting) => greeting,
        Err(error) => {
            let error = reasons_with(&error.into(), &way_out(servers, options));
            let text = format!("not usable at {url}: {error}");
            return vec![Finding::bad(SUBJECT, text)];
        }
    };
    let mut findings = vec![Finding::ok(
        SUBJECT,
        format!(
            "{} {} at {}",
            greeting.product, greeting.version, greeting.node_url
        ),
    )];
    findings.extend(other_nodes(options, &greeting.node_url).await);
    findings.extend(greeting.warnings.iter().map(|warning| {
        let text = format!("{}: {warning}", greeting.version);
        if warning.is_fatal() {
            Finding::bad(SUBJECT, text)
        } else {
            Finding::warn(SUBJECT, text)
        }
    }));
    if let Err(error) = broker.connected().await {
        let error = reasons_with(&error.into(), "check user, password and virtual host");
        let text = format!("no connection: {error}");
        findings.push(Finding::bad(SUBJECT, text));
        return findings;
    }
    findings.push(match broker.check() {
        Ok(()) => Finding::ok(SUBJECT, "takes messages: no memory or disk alarm"),
        Err(error) => Finding::bad(
            SUBJECT,
            format!(
                "{error}; free memory or disk of the broker, `rabbitmqctl status` shows the alarm"
            ),
        ),
    });
    findings.push(quorum_queue(options).await);
    findings
}

/// Asks each further node of the URL: one that is lost is not missed before the next.
async fn other_nodes(options: &Options, used: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for url in options.url.nodes() {
        let node = url.to_string();
        if node == used {
            continue;
        }
        let options = Options {
            url,
            ..options.clone()
        };
        findings.push(match drumline_backend_rabbitmq::inspect(&options).await {
            Ok(info) => Finding::ok(
                SUBJECT,
                format!("{} {} at {node}, too", info.product, info.version),
            ),
            Err(error) => Finding::warn(
                SUBJECT,
                format!(
                    "the node {node} is not used: {}",
                    reasons_with(&error.into(), "start it, or take it out of --amqp-url")
                ),
            ),
        });
    }
    findings
}

/// The way out when RabbitMQ does not answer. With TLS 1.3 a server that misses or
/// refuses a client certificate closes the connection after the handshake, often
/// without a word.
fn way_out(servers: &Servers, options: &Options) -> String {
    let certificate = match options.encryption.files.cert {
        _ if !servers.amqp_url.starts_with("amqps:") => "",
        None => "; if it wants a client certificate, name yours with --amqp-cert and --amqp-key",
        Some(_) => "; if it refuses the client certificate, name another with --amqp-cert",
    };
    format!("start it, or correct --amqp-url{certificate}")
}

/// Declares a quorum queue and deletes it again.
async fn quorum_queue(options: &Options) -> Finding {
    let tried = drumline_backend_rabbitmq::try_quorum_queue(options);
    match timeout(PATIENCE, tried).await {
        Ok(Ok(())) => Finding::ok(SUBJECT, "quorum queues can be declared"),
        Ok(Err(error)) => {
            let reason = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            Finding::bad(
                SUBJECT,
                format!(
                    "quorum queues cannot be declared: {reason}; the user needs to configure, write and read {}.*",
                    options.namespace
                ),
            )
        }
        Err(_elapsed) => Finding::bad(
            SUBJECT,
            format!(
                "a quorum queue was not declared within {PATIENCE:?}: the cluster may have lost its majority"
            ),
        ),
    }
}
