//! Flags for the attributes of a new operation, and the request that they make.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use drumline_client::{ExhaustedView, NewOperation, OperationType, RetryPolicy, TokenPolicy};
use drumline_protocol::QueueName;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::values::{self, With as _, timestamp};
use crate::output::time::Now;

/// The attributes of one new operation.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Attributes")]
#[group(id = "Attributes", multiple = true)]
pub(crate) struct Attributes {
    /// Payload: JSON text, @FILE, or - for standard input
    #[arg(
        long,
        short = 'd',
        value_name = "JSON|@FILE|-",
        allow_hyphen_values = true
    )]
    pub(crate) data: Option<String>,
    /// Name for people
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Dependency token: operations with equal tokens run strictly in order
    #[arg(long, alias = "dependency-token", value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// What follows for its token when it fails or is cancelled [default: the queue manager's --token-policy]
    #[arg(long, value_name = "POLICY", requires = "token")]
    pub(crate) token_policy: Option<OnTrouble>,
    /// Recurrence rule: RFC 5545, such as FREQ=DAILY;INTERVAL=3
    #[arg(long, value_name = "RULE")]
    pub(crate) recurrence: Option<String>,
    /// Start of the recurrence [default: now]
    #[arg(long, value_name = "TIME", value_parser = values::time, requires = "recurrence")]
    pub(crate) recurrence_start: Option<DateTime<Utc>>,
    /// Time zone whose clocks the recurrence goes by, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", requires = "recurrence")]
    pub(crate) recurrence_time_zone: Option<String>,
    /// Webhook: an address that gets a signed POST when the operation is Completed
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// Operation type [default: 54, Execute Async Request]
    #[arg(long = "type", value_name = "NUMBER")]
    pub(crate) operation_type: Option<u32>,
    /// Queue: the pool of workers that runs it [default: default]
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<QueueName>,
    /// Earliest time to start, such as 2026-11-20T15:42:00Z
    #[arg(long, value_name = "TIME", value_parser = values::time, conflicts_with = "in_")]
    pub(crate) postpone_until: Option<DateTime<Utc>>,
    /// Span from now to the earliest start, such as 10m
    #[arg(id = "in_", long = "in", value_name = "SPAN", value_parser = values::duration)]
    pub(crate) in_: Option<Duration>,
    /// Latest time to start: an operation that no worker has started by then expires and has Failed
    #[arg(long, value_name = "TIME", value_parser = values::time, conflicts_with_all = ["expire_in", "recurrence"])]
    pub(crate) not_after: Option<DateTime<Utc>>,
    /// Span from now to the latest start, such as 2h
    #[arg(long, value_name = "SPAN", value_parser = values::positive_duration, conflicts_with = "recurrence")]
    pub(crate) expire_in: Option<Duration>,
    /// Correlation id, the same for operations that belong together
    #[arg(long, value_name = "UUID")]
    pub(crate) correlation_id: Option<Uuid>,
    /// Id of the request that it comes from
    #[arg(long, value_name = "UUID")]
    pub(crate) request_id: Option<Uuid>,
    /// Id of the operation whose handler creates it [default: in a command handler, its operation]
    #[arg(long, value_name = "UUID")]
    pub(crate) parent_id: Option<Uuid>,
    /// Type of the record that it is about
    #[arg(long, value_name = "TYPE")]
    pub(crate) entity_type: Option<String>,
    /// Id of the record that it is about
    #[arg(long, value_name = "UUID")]
    pub(crate) regarding: Option<Uuid>,
    /// Keep it only for --remove-transient-after when it has Succeeded
    #[arg(long)]
    pub(crate) forget: bool,
    /// Never start it a second time: it fails when its worker is lost
    #[arg(long)]
    pub(crate) at_most_once: bool,
    /// Maximum number of retries; 0 makes the first failure final [default: 10]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) retry_max: Option<u32>,
    /// Delay before the first retry [default: 5s]
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    pub(crate) retry_initial: Option<Duration>,
    /// Factor by which each further delay grows [default: 2]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) retry_factor: Option<u32>,
    /// Longest delay between retries [default: 1h]
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    pub(crate) retry_longest: Option<Duration>,
    /// Outcome after the last retry [default: fail]
    #[arg(long, value_name = "WHAT")]
    pub(crate) retry_exhausted: Option<Exhausted>,
}

impl Attributes {
    /// The create request; attributes that are not given are left to the
    /// service. `data` was read already: it may be a file. `parent` is the
    /// operation whose handler runs this command, if there is one.
    pub(crate) fn request(
        &self,
        message: &str,
        data: Option<Box<RawValue>>,
        parent: Option<Uuid>,
        now: Now,
    ) -> NewOperation {
        let until = self.in_.map(|span| now.later(span));
        let expiry = self.expire_in.map(|span| now.later(span));
        let retry = self.retry_policy();
        NewOperation::new(message)
            .with(data, NewOperation::raw_data)
            .with(self.name.as_ref(), NewOperation::name)
            .with(self.token.as_ref(), NewOperation::token)
            .with(
                self.token_policy.map(TokenPolicy::from),
                NewOperation::token_policy,
            )
            .with(self.recurrence.as_ref(), NewOperation::recurrence)
            .with(
                self.recurrence_start.map(timestamp),
                NewOperation::recurrence_start,
            )
            .with(
                self.recurrence_time_zone.as_ref(),
                NewOperation::recurrence_time_zone,
            )
            .with(self.webhook.as_ref(), NewOperation::webhook)
            .with(
                self.operation_type.map(OperationType),
                NewOperation::operation_type,
            )
            .with(
                self.queue.as_ref().map(QueueName::as_str),
                NewOperation::queue,
            )
            .with(
                self.postpone_until.or(until).map(timestamp),
                NewOperation::postpone_until,
            )
            .with(
                self.not_after.or(expiry).map(timestamp),
                NewOperation::not_after,
            )
            .with(self.correlation_id, NewOperation::correlation_id)
            .with(self.request_id, NewOperation::request_id)
            .with(self.parent_id.or(parent), NewOperation::parent_id)
            .with(self.entity_type.as_ref(), NewOperation::primary_entity_type)
            .with(self.regarding, NewOperation::regarding_object_id)
            .with(
                self.forget.then_some(false),
                NewOperation::retain_job_history,
            )
            .with(
                self.at_most_once.then_some(true),
                NewOperation::at_most_once,
            )
            .with(
                Some(retry).filter(|retry| !retry.is_default()),
                NewOperation::retry,
            )
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::default()
            .with(self.retry_max, RetryPolicy::max_retries)
            .with(self.retry_initial, RetryPolicy::initial)
            .with(self.retry_factor, RetryPolicy::factor)
            .with(self.retry_longest, RetryPolicy::longest)
            .with(
                self.retry_exhausted.map(ExhaustedView::from),
                RetryPolicy::exhausted,
            )
    }
}

/// `--retry-exhausted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exhausted {
    /// The operation fails
    Fail,
    /// The operation waits for a person
    Suspend,
}

impl From<Exhausted> for ExhaustedView {
    fn from(exhausted: Exhausted) -> Self {
        match exhausted {
            Exhausted::Fail => Self::Fail,
            Exhausted::Suspend => Self::Suspend,
        }
    }
}

/// `--token-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnTrouble {
    /// The next operation of the token starts
    Continue,
    /// The token waits until the operation is resumed (skipped)
    Hold,
}

impl From<OnTrouble> for TokenPolicy {
    fn from(policy: OnTrouble) -> Self {
        match policy {
            OnTrouble::Continue => Self::Continue,
            OnTrouble::Hold => Self::Hold,
        }
    }
}
