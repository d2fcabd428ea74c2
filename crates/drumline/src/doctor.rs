//! `drumline doctor`: checks the installation, and advises what to change.
//!
//! Each check gives findings. None stops the others, except that a server that
//! is unavailable cannot be examined. Nothing is changed, but for
//! throw-away keys in Redis and a throw-away queue in RabbitMQ.

mod builds;
mod fleet;
mod manager;
mod rabbit;
mod redis;

use serde::Serialize;

use crate::cli::tools::Doctor;
use crate::exit::{Exit, Result};
use crate::output::progress::Activity;
use crate::output::time::Now;
use crate::output::{self, Output};

/// The level of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// It works, but something may be lost or may stand still.
    Warn,
    /// It does not work, or must not be used.
    Bad,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    /// The level.
    level: Level,
    /// The subject of the check.
    subject: &'static str,
    /// The result, and the change to make.
    text: String,
}

impl Finding {
    fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, text)
    }

    fn warn(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Warn, subject, text)
    }

    fn bad(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Bad, subject, text)
    }

    fn new(level: Level, subject: &'static str, text: impl Into<String>) -> Self {
        Self {
            level,
            subject,
            text: text.into(),
        }
    }
}

/// The reasons of a server that cannot be used, and the way out. An error of TLS has a
/// way out of its own.
fn reasons_with(error: &anyhow::Error, hint: &str) -> String {
    let reasons = output::reasons(error);
    match drumline_tls::Trouble::find(error.as_ref()) {
        Some(_) => reasons,
        None => format!("{reasons}; {hint}"),
    }
}

/// Runs all checks; fails if a finding is bad.
pub(crate) async fn run(doctor: &Doctor, now: Now) -> Result<Exit> {
    let out = Output::new(doctor.output.output, now);
    let findings = {
        let activity = Activity::quiet_without_terminal();
        activity.tell("checking Redis");
        let mut findings = redis::check(&doctor.servers).await;
        let redis_is_there = findings.iter().all(|finding| finding.level != Level::Bad);
        activity.tell("checking RabbitMQ");
        findings.extend(rabbit::check(&doctor.servers).await);
        if redis_is_there {
            activity.tell("checking the namespace");
            findings.extend(fleet::check(&doctor.servers).await);
        }
        if let Some(server) = &doctor.server {
            activity.tell("checking the queue manager");
            findings.push(manager::check(server, &doctor.tls).await);
        }
        findings
    };
    for finding in &findings {
        print(out, finding)?;
    }
    let worst = findings.iter().map(|finding| finding.level).max();
    Ok(match worst {
        Some(Level::Bad) => Exit::Failed,
        Some(Level::Ok | Level::Warn) | None => Exit::Ok,
    })
}

fn print(out: Output, finding: &Finding) -> std::io::Result<()> {
    if out.is_json() {
        return out.json(finding);
    }
    let level = match finding.level {
        Level::Ok => "ok  ",
        Level::Warn => "WARN",
        Level::Bad => "BAD ",
    };
    out.line(&format!(
        "{level}  {:<13}  {}",
        finding.subject, finding.text
    ))
}
