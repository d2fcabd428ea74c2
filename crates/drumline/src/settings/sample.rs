//! The sample `drumline.toml` and the table of settings, both made from the
//! grammar. The sample is committed as deploy/drumline.toml, the table stands
//! in docs/configuration.md; tests compare. `make docs` writes both.

use std::fmt::Write as _;

use clap::CommandFactory;
use drumline_protocol::page::part;

use super::catalogue::{self, Setting};
use crate::cli::Cli;

const HEAD: &str = "\
# drumline.toml: settings of all commands, written by `drumline config --sample`.
#
# Precedence: flag, then environment, then this file, then the default. A key outside of any table applies to every
# command that has it. A key in [worker] applies to `drumline worker` alone and has precedence there. All keys are
# commented out. They show the default, or an example where there is none.
";

/// The sample file.
pub(crate) fn toml() -> String {
    let grammar = Cli::command();
    let settings = catalogue::of(&grammar);
    let mut text = HEAD.to_owned();
    for setting in settings.iter().filter(|setting| is_shared(setting)) {
        entry(&mut text, setting);
    }
    for command in catalogue::commands(&grammar) {
        let own: Vec<_> = settings
            .iter()
            .filter(|setting| !is_shared(setting))
            .filter(|setting| {
                setting
                    .command_names()
                    .any(|name| name == command.get_name())
            })
            .collect();
        if own.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "\n[{}]", command.get_name());
        for setting in own {
            entry(&mut text, setting);
        }
    }
    text
}

/// The table of settings in docs/configuration.md, with its marks.
pub(crate) fn reference() -> String {
    let mut text = "\
| key | flag | environment | default | commands | meaning |
|---|---|---|---|---|---|
"
    .to_owned();
    for setting in catalogue::of(&Cli::command()) {
        let commands = if setting.is_global() {
            "all".to_owned()
        } else {
            setting.command_names().collect::<Vec<_>>().join(", ")
        };
        let default = match setting.default_values() {
            values if values.is_empty() => String::new(),
            values => format!("`{}`", values.join(",")),
        };
        let help = setting.help.replace('|', "\\|");
        let Setting { key, env, .. } = &setting;
        let _infallible = writeln!(
            text,
            "| `{key}` | `--{key}` | `{env}` | {default} | {commands} | {help} |"
        );
    }
    part("settings", &text)
}

/// Whether it stands outside of the tables: it belongs to several commands.
fn is_shared(setting: &Setting) -> bool {
    setting.is_global() || setting.commands.len() > 1
}

fn entry(text: &mut String, setting: &Setting) {
    let commands: Vec<_> = setting.command_names().collect();
    let whose = if setting.is_global() || commands.len() == 1 {
        String::new()
    } else {
        format!(" ({})", commands.join(", "))
    };
    let defaults = setting.default_values();
    let value = if catalogue::is_list(&setting.arg) {
        let items: Vec<_> = defaults.iter().map(|value| literal(value)).collect();
        format!("[{}]", items.join(", "))
    } else {
        defaults
            .first()
            .map_or_else(|| literal(example(&setting.key)), |value| literal(value))
    };
    let _infallible = writeln!(text, "\n# {}{whose}", setting.help);
    let _infallible = writeln!(text, "# {} = {value}", setting.key);
}

/// A value as TOML writes it.
pub(crate) fn literal(value: &str) -> String {
    if value.parse::<i64>().is_ok() || matches!(value, "true" | "false") {
        value.to_owned()
    } else {
        // A JSON string is a TOML string too.
        serde_json::Value::from(value).to_string()
    }
}

/// An example for a setting without a default.
fn example(key: &str) -> &'static str {
    match key {
        "data" => "/var/lib/drumline",
        "handlers" => "handlers.toml",
        "health-listen" => "127.0.0.1:8081",
        "api-key" => "drl_…",
        "api-key-file" => "drumline.key",
        "audit-log" => "/var/log/drumline/audit.jsonl",
        "quota-file" => "/etc/drumline/quotas.toml",
        "auth-file" => "auth.toml",
        "tls-cert" => "tls.pem",
        "tls-key" => "tls.key",
        "tls-client-ca" => "clients-ca.pem",
        "ca-file" | "redis-ca-file" | "amqp-ca-file" => "ca.pem",
        "redis-cert" | "amqp-cert" => "drumline.pem",
        "redis-key" | "amqp-key" => "drumline.key",
        "redis-server-name" => "redis.example.org",
        "amqp-server-name" => "rabbitmq.example.org",
        "client-cert" => "client.pem",
        "client-key" => "client.key",
        "run-key-file" => "run.key",
        "public-url" => "https://drumline.example.org",
        "host-id" => "imports-1",
        "remove-transient-after" => "0s",
        "webhook-secret" => "whsec_…",
        _ => "",
    }
}
