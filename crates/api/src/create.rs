//! The request to create an operation.

use crate::attributes::CreateOperation;
use crate::deployment::Grammar;
use crate::error::{Error, FieldError, Invalid};
use crate::fields::Fields;
use crate::{is_set_by_service, recurrence};

/// The longest idempotency key, in bytes. A UUID has 36.
const KEY_BYTES: usize = 255;

impl CreateOperation {
    /// A request with a message name and defaults.
    #[must_use]
    pub fn new(message_name: impl Into<String>) -> Self {
        Self {
            message_name: message_name.into(),
            ..Self::default()
        }
    }

    /// Reads a request from JSON.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is not JSON; [`Error::Invalid`] with all
    /// attributes that are unknown or break a rule.
    pub fn from_json(body: &[u8], grammar: &Grammar) -> Result<Self, Error> {
        let mut given = Fields::of_body(body)?;
        let request = Self::take(&mut given);
        request.check_pair(&mut given);
        given.refuse_rest(why_not);
        for error in request.rules_broken(grammar) {
            if !given.is_noted(&error.name) {
                given.errors.push(error);
            }
        }
        given.finish()?;
        Ok(request)
    }

    /// Notes a start or a time zone without a rule.
    fn check_pair(&self, given: &mut Fields<'_>) {
        if self.recurrence_pattern.is_some() || given.is_noted("recurrencePattern") {
            return;
        }
        let why = "goes with a recurrencePattern only";
        if self.recurrence_start_time.is_some() {
            given.note("recurrenceStartTime", why);
        }
        if self.recurrence_time_zone.is_some() {
            given.note("recurrenceTimeZone", why);
        }
    }

    /// Checks the rules that the types of its fields do not enforce.
    ///
    /// # Errors
    /// With all attributes that break one.
    pub fn check(&self, grammar: &Grammar) -> Result<(), Invalid> {
        let errors = self.rules_broken(grammar);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Invalid::arguments(errors))
        }
    }

    fn rules_broken(&self, grammar: &Grammar) -> Vec<FieldError> {
        let broken = self.kinds_broken().into_iter();
        let mut errors: Vec<FieldError> = broken
            .map(|(name, why)| FieldError::new(name, why))
            .collect();
        let webhook = self.webhook_url.as_deref().map(grammar.webhook_url);
        if let Some(Err(why)) = webhook {
            errors.push(FieldError::new("webhookUrl", why));
        }
        if let Some(pattern) = &self.recurrence_pattern {
            errors.extend(recurrence::objections(
                Some(pattern),
                self.recurrence_start_time,
                self.recurrence_time_zone.as_deref(),
                grammar,
            ));
            if self.postpone_until.is_some() {
                let why = "does not go with recurrencePattern: give recurrenceStartTime";
                errors.push(FieldError::new("postponeUntil", why));
            }
            if self.not_after.is_some() {
                let why = "does not go with recurrencePattern: end the series with UNTIL";
                errors.push(FieldError::new("notAfter", why));
            }
            if self.in_order_of_requests {
                let why = "does not go with the order of asynchronous requests";
                errors.push(FieldError::new("recurrencePattern", why));
            }
        }
        if let (Some(from), Some(to)) = (self.postpone_until, self.not_after)
            && to <= from
        {
            let why = "must be later than postponeUntil, or it could never start";
            errors.push(FieldError::new("notAfter", why));
        }
        if self.dependency_token.is_some() && self.in_order_of_requests {
            let why = "does not go with the order of asynchronous requests";
            errors.push(FieldError::new("dependencyToken", why));
        }
        if self.dependency_token.is_some() && !self.operation_type.can_have_token() {
            let why = format!(
                "is not allowed for operations of type {} ({})",
                self.operation_type.0,
                self.operation_type.name().unwrap_or("a bulk operation"),
            );
            errors.push(FieldError::new("dependencyToken", why));
        }
        errors
    }
}

/// Checks an idempotency key.
///
/// # Errors
/// The rule that it breaks, as a clause about it.
pub fn check_idempotency_key(key: &str) -> Result<(), String> {
    if (1..=KEY_BYTES).contains(&key.len()) {
        Ok(())
    } else {
        Err(format!("must have 1 to {KEY_BYTES} bytes"))
    }
}

fn why_not(name: &str) -> &'static str {
    if is_set_by_service(name) {
        "is set by the service"
    } else {
        "is unknown"
    }
}
