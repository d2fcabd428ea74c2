//! The rules that a create must keep, and the circumstances that it needs.

use drumline_api::{CreateOperation, FieldError, Invalid};
use drumline_backend::broker::Trouble;
use drumline_protocol::QueueName;
use drumline_protocol::message::{Route, Source};

use crate::error::{Error, Result};
use crate::options::GRAMMAR;
use crate::recurrence;
use crate::service::QueueManager;
use crate::service::series::no_time;

impl QueueManager {
    /// Returns an error if the request breaks a rule, including the rules of
    /// this deployment.
    pub(super) fn check(&self, request: &CreateOperation) -> Result<()> {
        request.check(&GRAMMAR)?;
        let url = request.webhook_url.as_deref();
        match url.and_then(|url| self.options().webhooks.objection(url)) {
            Some(why) => Err(Invalid::arguments(vec![FieldError::new("webhookUrl", why)]).into()),
            None => Ok(()),
        }
    }

    /// Returns an error if an operation cannot be created now. Operations that
    /// were created before are not checked: a repetition may come when the
    /// broker is unavailable, all times of a series are over, or the operation has
    /// expired.
    pub(super) fn check_circumstances(&self, request: &CreateOperation) -> Result<()> {
        self.check_recurrence(request)?;
        self.check_not_after(request)?;
        self.shared.backend.broker.check()?;
        self.check_queue(&request.queue)
    }

    /// Returns an error if a recurring request has no time that is still to
    /// come.
    fn check_recurrence(&self, request: &CreateOperation) -> Result<()> {
        let Some(pattern) = &request.recurrence_pattern else {
            return Ok(());
        };
        let now = self.store().now();
        let (zone, start) = (
            request.recurrence_time_zone.as_deref(),
            request.recurrence_start_time,
        );
        match recurrence::begin(pattern, zone, start, now) {
            (_, Some(_first)) => Ok(()),
            (_, None) => Err(no_time("recurrencePattern").into()),
        }
    }

    /// Returns an error if the time to start is over before the operation exists.
    fn check_not_after(&self, request: &CreateOperation) -> Result<()> {
        let now = self.store().now();
        match request.not_after {
            Some(time) if time <= now => {
                let why = format!("has passed already: it is {now}");
                Err(Invalid::arguments(vec![FieldError::new("notAfter", why)]).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses a pool of workers whose work queue the broker refuses to
    /// declare, as this manager has found itself. Such a queue is set up
    /// wrongly: its operations go round it, and an operator is to be notified
    /// before there are more.
    fn check_queue(&self, queue: &QueueName) -> Result<()> {
        let work = Route {
            queue: queue.clone(),
            source: Source::Work,
        };
        match self.shared.bypass.own_trouble(&work) {
            Some(Trouble::Refused(why)) => Err(Error::QueueUnusable {
                queue: queue.clone(),
                why,
            }),
            Some(Trouble::Silent | Trouble::Unconsumable | Trouble::ConsumerRefused(_)) | None => {
                Ok(())
            }
        }
    }
}
