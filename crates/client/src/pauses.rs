//! Persistent pauses: list them, set one, lift one.

use drumline_api::pause::{PauseView, PausesView};
use drumline_protocol::{PauseKind, Timestamp};
use reqwest::Method;
use serde::Serialize;

use crate::client::Client;
use crate::error::Result;
use crate::retry::Repeat;

/// A pause that is to be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewPause {
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// A freeze that is to be set.
#[derive(Debug, Serialize)]
struct Freeze {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl NewPause {
    /// The pause of a queue, a message name or a token.
    #[must_use]
    pub fn of(kind: PauseKind, name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            scope: kind.name(),
            name: Some(name.into()),
            reason: reason.into(),
            until: None,
        }
    }

    /// The pause of everything in the organization of the caller.
    #[must_use]
    pub fn of_organization(reason: impl Into<String>) -> Self {
        Self {
            scope: PauseKind::Organization.name(),
            name: None,
            reason: reason.into(),
            until: None,
        }
    }

    /// The same, and it ends by itself at this time.
    #[must_use]
    pub fn until(self, until: Timestamp) -> Self {
        Self {
            until: Some(until.to_string()),
            ..self
        }
    }
}

impl Client {
    /// The pauses in force in the organization of the caller.
    ///
    /// # Errors
    /// When the service is unavailable.
    pub async fn pauses(&self) -> Result<Vec<PauseView>> {
        let request = self.request(Method::GET, &["v1", "pauses"]);
        let answer: PausesView = self.exchange(Repeat::Safe, request).await?.read()?;
        Ok(answer.pauses)
    }

    /// Stops all operations in a scope, present ones and those to come, until the
    /// pause is lifted or its time is over. What runs goes on. A pause of the same
    /// scope is replaced.
    ///
    /// ```no_run
    /// # async fn example(client: drumline_client::Client) -> drumline_client::Result<()> {
    /// use drumline_client::{NewPause, PauseKind};
    ///
    /// let pause = NewPause::of(PauseKind::MessageName, "SendMail", "the mail server is down");
    /// let set = client.set_pause(&pause).await?;
    /// // … the mail server is back:
    /// client.lift_pause(&set.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040203` if it breaks a
    /// rule.
    pub async fn set_pause(&self, pause: &NewPause) -> Result<PauseView> {
        let request = self.request(Method::PUT, &["v1", "pauses"]).json(pause);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// Keeps every operation of every organization from starting, until
    /// [`Self::thaw`] or that time. What runs goes on. Needs an admin of all
    /// organizations.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) when the key may not, or the time is
    /// over.
    pub async fn freeze(
        &self,
        reason: Option<&str>,
        until: Option<Timestamp>,
    ) -> Result<PauseView> {
        let body = Freeze {
            reason: reason.map(str::to_owned),
            until: until.map(|until| until.to_string()),
        };
        let request = self.request(Method::PUT, &["v1", "freeze"]).json(&body);
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// Ends a freeze. The operations that it holds go on.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040217` if the service is
    /// not frozen, or not any more.
    pub async fn thaw(&self) -> Result<()> {
        let request = self.request(Method::DELETE, &["v1", "freeze"]);
        // A second request is refused, which would hide that the first was done.
        self.exchange(Repeat::Undone, request).await?;
        Ok(())
    }

    /// Lifts a pause. The operations that it holds go on.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040217` if there is
    /// none, or not any more.
    pub async fn lift_pause(&self, id: &str) -> Result<()> {
        let request = self.request(Method::DELETE, &["v1", "pauses", id]);
        // A second request is refused, which would hide that the first was done.
        self.exchange(Repeat::Undone, request).await?;
        Ok(())
    }
}
