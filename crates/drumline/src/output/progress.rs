//! Progress on standard error: bars on a terminal, otherwise a plain line now
//! and then.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::clean::{clean, clean_lines};
use super::{hint, watched};

/// The interval of plain lines.
const EVERY: Duration = Duration::from_secs(5);

/// A number that grows, towards a total if there is one.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    total: Option<u64>,
    done: u64,
    told: Instant,
}

impl Progress {
    /// Progress of `what`, from nothing to `total`.
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        let template = "{msg} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta}";
        Self::with_bar(what, Some(total), template)
    }

    /// Progress of `what`, without a known total.
    pub(crate) fn open(what: &'static str) -> Self {
        Self::with_bar(what, None, "{spinner} {msg} {human_pos}  {per_sec}")
    }

    fn with_bar(what: &'static str, total: Option<u64>, template: &str) -> Self {
        let bar = watched().then(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let style = ProgressStyle::with_template(template);
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

    /// Adds to the number.
    pub(crate) fn advance(&mut self, more: u64) {
        self.done += more;
        match &self.bar {
            Some(bar) => bar.inc(more),
            None if self.told.elapsed() >= EVERY => {
                self.told = Instant::now();
                let of = self.total.map(|total| format!(" of {total}"));
                hint(&format!(
                    "{} {}{}",
                    self.what,
                    self.done,
                    of.unwrap_or_default()
                ));
            }
            None => {}
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line that describes the current activity, and is replaced by the next one.
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

    /// An empty line that stays empty without a terminal.
    pub(crate) fn quiet_without_terminal() -> Self {
        let mut activity = Self::new();
        activity.quiet = true;
        activity
    }

    /// Shows the current activity.
    pub(crate) fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(clean(text)),
            None if self.quiet => {}
            None => hint(text),
        }
    }

    /// Prints a line that stays.
    pub(crate) fn remark(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(clean_lines(text)),
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
