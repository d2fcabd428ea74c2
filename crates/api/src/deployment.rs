//! The limits of a deployment: the rules of a request that differ from one
//! deployment to another, and the rules that need more than this crate.

/// The limits and rules of one deployment.
#[derive(Clone, Copy, Debug)]
pub struct Deployment<'a> {
    /// Bytes of a request that is no batch.
    pub body_bytes: usize,
    /// The most operations on one page of a listing.
    pub page: usize,
    /// The most requests in one.
    pub batch_items: usize,
    /// The requests that `ExecuteAsync` takes; `*`: any.
    pub async_requests: &'a [String],
    /// The rules of texts.
    pub grammar: Grammar,
}

/// The rules of texts with a grammar of their own. Each returns the rule that
/// the text breaks, as a clause: "has no FREQ".
///
/// They are arguments, because to check such a text takes a library that a
/// client does not need.
#[derive(Clone, Copy, Debug)]
pub struct Grammar {
    /// `recurrencePattern`: an RFC 5545 rule.
    pub recurrence_pattern: fn(&str) -> Result<(), String>,
    /// `recurrenceTimeZone`: the name of a time zone.
    pub recurrence_time_zone: fn(&str) -> Result<(), String>,
    /// `webhookUrl`: an absolute http or https address.
    pub webhook_url: fn(&str) -> Result<(), String>,
}

impl Deployment<'_> {
    /// Returns true if `ExecuteAsync` takes requests of this name.
    #[must_use]
    pub fn executes_later(&self, name: &str) -> bool {
        let mut names = self.async_requests.iter();
        names.any(|known| known == "*" || known == name)
    }
}
