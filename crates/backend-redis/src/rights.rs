//! The rights of the user, tried out: a server reports a missing one only when the
//! command is run, and then an operation is lost to its caller.

use std::time::Duration;

use drumline_backend::store::{Error, Result};
use tokio::time::timeout;

use crate::keys;
use crate::link::Link;
use crate::options::Options;
use crate::reply::{self, Parts};
use crate::scripts::Script;

const CODE: &str = include_str!("scripts/rights.lua");
/// The time that a subscription may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A command that the user may not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRight {
    /// The command: `zadd`.
    pub command: String,
    /// The words of the server.
    pub reason: String,
}

/// Tries every command that the store runs, and returns those that the user may not
/// run. Uses keys of its own in the namespace, and removes them.
///
/// # Errors
/// When the server is unavailable, or the user may not even connect and run scripts.
pub async fn missing_rights(options: &Options) -> Result<Vec<MissingRight>> {
    let namespace = options.checked_namespace()?;
    let link = Link::new(options)?;
    let script = Script::new(CODE);
    link.run_on_each("script", &script.load()).await?;
    let prefix = format!("{namespace}:{{doctor-{}}}:", std::process::id());
    let channel = keys::completions(namespace);
    let mut call = script.call(&[prefix.as_bytes()]);
    call.arg(&channel);
    let mut answer = Parts::of(link.run_one("rights", call).await?)?;
    let mut missing = Vec::new();
    while answer.len() >= 2 {
        let command = reply::text(answer.value()?)?.to_lowercase();
        let reason = reply::text(answer.value()?)?;
        missing.push(MissingRight { command, reason });
    }
    if options.wait_replicas > 0 {
        let mut wait = redis::cmd("WAIT");
        wait.arg(0).arg(0);
        match link.run_one("wait", wait).await {
            Ok(_answer) => {}
            Err(Error::Unfit(reason)) => missing.push(MissingRight {
                command: "wait".to_owned(),
                reason,
            }),
            Err(error) => return Err(error),
        }
    }
    let subscribed = timeout(PATIENCE, async {
        link.listen().await?.0.subscribe(&channel).await
    });
    match subscribed.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => missing.push(MissingRight {
            command: "subscribe".to_owned(),
            reason: error.to_string(),
        }),
        Err(_elapsed) => {
            return Err(Error::Unavailable {
                message: format!("subscribing: no answer within {PATIENCE:?}"),
                source: None,
            });
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The commands that stand behind such a word in a script.
    fn commands(code: &str, word: &str) -> BTreeSet<String> {
        code.split(word)
            .skip(1)
            .filter_map(|rest| rest.trim_start().strip_prefix('\''))
            .filter_map(|rest| rest.split('\'').next())
            .map(str::to_uppercase)
            .collect()
    }

    #[test]
    fn every_command_of_the_scripts_is_tried() {
        let tried = commands(CODE, "try(");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scripts");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let code = std::fs::read_to_string(&path).unwrap();
            let run = commands(&code, "call(");
            let untried: Vec<_> = run.difference(&tried).collect();
            assert!(untried.is_empty(), "{}: {untried:?}", path.display());
        }
        assert!(tried.len() > 30, "{tried:?}");
    }
}
