//! Progress on standard error: bars where a person looks at a terminal, a
//! plain line now and then where not.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::{hint, watched};

/// How often a plain line is written.
const EVERY: Duration = Duration::from_secs(5);

/// A number that grows towards a total.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    total: u64,
    done: u64,
    told: Instant,
}

impl Progress {
    /// Progress of `what`, from nothing to `total`. Silent where `quiet`.
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        let bar = watched().then(|| {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template(
                "{msg} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta}",
            );
            bar.set_style(style.unwrap_or_else(|_bad_template| ProgressStyle::default_bar()));
            bar.set_message(what);
            bar
        });
        Self {
            bar,
            what,
            total,
            done: 0,
            told: Instant::now(),
        }
    }

    /// One more.
    pub(crate) fn step(&mut self) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.told.elapsed() >= EVERY => {
                self.told = Instant::now();
                hint(&format!("{} {} of {}", self.what, self.done, self.total));
            }
            None => {}
        }
    }

    /// A line above the bar.
    pub(crate) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| hint(text)),
            None => hint(text),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line that says what is going on, and is replaced by the next one.
#[derive(Debug)]
pub(crate) struct Activity {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Activity {
    /// An empty line.
    pub(crate) fn new() -> Self {
        let bar = watched().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, quiet: false }
    }

    /// An empty line that stays empty where nobody watches.
    pub(crate) fn quiet_without_terminal() -> Self {
        let mut activity = Self::new();
        activity.quiet = true;
        activity
    }

    /// Says what is going on now.
    pub(crate) fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None if self.quiet => {}
            None => hint(text),
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
