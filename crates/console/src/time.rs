//! Times and spans on a page: relative for people, exact in the markup.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;
use drumline_protocol::Timestamp;

/// A time, seen from now. Written as a `time` element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time.
    pub at: Timestamp,
    /// The time at which the page is made.
    pub now: Timestamp,
}

impl Moment {
    /// The time in words: `3 min ago`, `in 2 h`.
    #[must_use]
    pub fn relative(&self) -> String {
        if self.at > self.now {
            format!("in {}", span(self.at.since(self.now)))
        } else {
            format!("{} ago", span(self.now.since(self.at)))
        }
    }

    /// The time to the second: `2026-11-29 07:54:22 UTC`.
    #[must_use]
    pub fn exact(&self) -> String {
        exact(self.at)
    }
}

// A timestamp and a span consist of digits, letters and signs that need no escape.
impl HtmlSafe for Moment {}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<time datetime=\"{}\" title=\"{}\">{}</time>",
            self.at,
            self.exact(),
            self.relative()
        )
    }
}

/// A time to the second: `2026-11-29 07:54:22 UTC`.
#[must_use]
pub fn exact(at: Timestamp) -> String {
    let written = at.to_string();
    let seconds = written.split('.').next().unwrap_or(&written);
    format!("{} UTC", seconds.replace('T', " "))
}

/// A span in words: `0.4 s`, `42 s`, `3 min`, `2 h`, `5 d`.
#[must_use]
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{seconds}.{} s", span.subsec_millis() / 100),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_relative_and_exact() {
        let at = Timestamp::from_millis(1_795_000_000_123);
        let later = |seconds| Moment {
            at,
            now: at.saturating_add(Duration::from_secs(seconds)),
        };
        assert_eq!(later(90).relative(), "90 s ago");
        assert_eq!(later(7_199).relative(), "119 min ago");
        assert_eq!(later(200_000).relative(), "2 d ago");
        let coming = Moment {
            at: at.saturating_add(Duration::from_secs(10_000)),
            now: at,
        };
        assert_eq!(coming.relative(), "in 2 h");
        assert_eq!(
            later(0).to_string(),
            "<time datetime=\"2026-11-18T11:06:40.123Z\" title=\"2026-11-18 11:06:40 UTC\">0.0 s ago</time>"
        );
    }
}
