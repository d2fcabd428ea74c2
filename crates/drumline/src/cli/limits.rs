//! Flags of the limits of organizations and callers.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use drumline_queue_manager::QueueLimit;
use drumline_queue_manager::options::{Admission, Protection};

use super::values;

/// How much organizations and callers may ask for.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Maximum number of `ExecuteMultiple` requests of one organization at the same time, over all managers; 0 sets no limit
    #[arg(
        long,
        env = "DRUMLINE_MAX_BATCHES",
        value_name = "NUMBER",
        default_value = "2"
    )]
    pub(crate) max_batches: u32,
    /// Maximum number of requests in one `ExecuteMultiple` or `ExecuteTransaction`
    #[arg(
        long,
        env = "DRUMLINE_MAX_BATCH_SIZE",
        value_name = "NUMBER",
        default_value = "1000"
    )]
    pub(crate) max_batch_size: NonZeroUsize,
    /// TOML file with the quotas of organizations; see docs/limits.md. Read again when it changes [default: none]
    #[arg(long, env = "DRUMLINE_QUOTA_FILE", value_name = "FILE")]
    pub(crate) quota_file: Option<PathBuf>,
    /// Request name that `ExecuteAsync` accepts; repeat it for several; `*` accepts any
    #[arg(
        long,
        env = "DRUMLINE_ASYNC_REQUESTS",
        value_name = "NAME",
        default_value = "ImportSolution",
        value_delimiter = ','
    )]
    pub(crate) async_requests: Vec<String>,
    /// Maximum number of queues that each organization may use beside `default`; 0 sets no limit
    #[arg(
        long,
        env = "DRUMLINE_MAX_QUEUES",
        value_name = "NUMBER",
        default_value = "32"
    )]
    pub(crate) max_queues: usize,
    /// Time after its last use after which a queue is deleted in RabbitMQ; `never` keeps all
    #[arg(
        long,
        env = "DRUMLINE_FORGET_QUEUES_AFTER",
        value_name = "SPAN",
        default_value = "7d",
        value_parser = values::removal
    )]
    pub(crate) forget_queues_after: values::Removal,
    /// Maximum number of requests of one named caller within --protect-window; more are answered 429; 0 sets no limit
    #[arg(
        long,
        env = "DRUMLINE_PROTECT_REQUESTS",
        value_name = "NUMBER",
        default_value = "6000"
    )]
    pub(crate) protect_requests: u64,
    /// Maximum execution time of the requests of one named caller within --protect-window; 0s sets no limit
    #[arg(
        long,
        env = "DRUMLINE_PROTECT_EXECUTION",
        value_name = "SPAN",
        default_value = "20m",
        value_parser = values::duration
    )]
    pub(crate) protect_execution: Duration,
    /// Maximum number of requests of one named caller at the same time; 0 sets no limit
    #[arg(
        long,
        env = "DRUMLINE_PROTECT_CONCURRENT",
        value_name = "NUMBER",
        default_value = "52"
    )]
    pub(crate) protect_concurrent: u32,
    /// Length of the sliding window of --protect-requests and --protect-execution, 1s to 1h
    #[arg(
        long,
        env = "DRUMLINE_PROTECT_WINDOW",
        value_name = "SPAN",
        default_value = "5m",
        value_parser = window
    )]
    pub(crate) protect_window: Duration,
    /// Apply these limits to requests without a Drumline-Caller header, too, as one caller per organization
    // Not a plain switch: the command line must be able to turn off what the
    // file or the environment turned on.
    #[arg(
        long,
        env = "DRUMLINE_PROTECT_ANONYMOUS",
        value_name = "BOOL",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        value_parser = BoolishValueParser::new()
    )]
    pub(crate) protect_anonymous: bool,
}

impl Limits {
    /// Converts the flags to the limits of a manager.
    pub(crate) fn admission(&self) -> Admission {
        let Self {
            max_batches,
            max_batch_size: _,
            quota_file: _,
            async_requests: _,
            max_queues: _,
            forget_queues_after: _,
            protect_requests,
            protect_execution,
            protect_concurrent,
            protect_window,
            protect_anonymous,
        } = self;
        Admission {
            batches: *max_batches,
            protection: Protection {
                requests: *protect_requests,
                execution: *protect_execution,
                concurrent: *protect_concurrent,
                window: *protect_window,
                anonymous: *protect_anonymous,
            },
            ..Admission::default()
        }
    }

    /// The most queues of an organization.
    pub(crate) const fn queues(&self) -> QueueLimit {
        QueueLimit(NonZeroUsize::new(self.max_queues))
    }
}

/// Reads a window: long enough to be given in whole seconds, short enough that
/// a refused caller comes back the same day.
fn window(text: &str) -> Result<Duration, String> {
    let window = values::duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&window) {
        Ok(window)
    } else {
        Err("expected 1s to 1h".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};
    use drumline_queue_manager::Options;

    use crate::cli::{Cli, Command};

    use super::*;

    fn limits(line: &str) -> Result<Limits, clap::Error> {
        let matches = Cli::command().try_get_matches_from(line.split(' '))?;
        match Cli::from_arg_matches(&matches)?.command {
            Command::QueueManager(manager) => Ok(manager.limits),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_flags_the_limits_are_the_managers_own() {
        let limits = limits("drumline queue-manager").unwrap();
        assert_eq!(limits.admission(), Admission::default());
        let options = Options::default();
        assert_eq!(limits.max_batch_size, options.max_batch_size);
        assert_eq!(limits.async_requests, options.async_requests);
        assert_eq!(limits.queues(), options.queues);
        let maintenance = drumline_queue_manager::maintenance::MaintenanceOptions::default();
        assert_eq!(limits.forget_queues_after.0, maintenance.forget_queues);
    }

    #[test]
    fn every_limit_can_be_changed() {
        let line = "drumline queue-manager --max-batches 0 --protect-requests 1 \
                    --protect-execution 2s --protect-concurrent 3 --protect-window 4s \
                    --protect-anonymous --max-batch-size 5 --async-requests A,B \
                    --max-queues 0 --forget-queues-after never";
        let expected = Admission {
            batches: 0,
            protection: Protection {
                requests: 1,
                execution: Duration::from_secs(2),
                concurrent: 3,
                window: Duration::from_secs(4),
                anonymous: true,
            },
            ..Admission::default()
        };
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let limits = limits(&line).unwrap();
        assert_eq!(limits.admission(), expected);
        assert_eq!(limits.max_batch_size.get(), 5);
        assert_eq!(limits.async_requests, ["A", "B"]);
        assert_eq!(limits.queues(), QueueLimit(None));
        assert_eq!(limits.forget_queues_after.0, None);
    }

    #[test]
    fn a_window_has_a_second_to_an_hour() {
        for window in ["0s", "999ms", "2h", "soon"] {
            let line = format!("drumline queue-manager --protect-window {window}");
            assert!(limits(&line).is_err(), "{window}");
        }
    }
}
