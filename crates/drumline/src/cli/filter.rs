//! Flags that select operations, and the conditions that they make.

use clap::Args;
use drumline_client::{self as client, OperationType, State, Status, Timestamp};
use uuid::Uuid;

use super::values::{self, Since, With as _, timestamp};
use crate::output::time::Now;

/// Which operations; several conditions must all hold.
#[derive(Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Only those")]
pub(crate) struct Filter {
    /// With this state: Ready, Suspended, Locked, Completed
    #[arg(long, value_name = "STATE", value_parser = values::state)]
    pub(crate) state: Option<State>,
    #[arg(
        long,
        value_name = "STATUS",
        value_parser = values::status,
        help = "With this status: WaitingForResources, Waiting, InProgress, Pausing, Canceling, Succeeded, \
                Failed, Canceled"
    )]
    pub(crate) status: Option<Status>,
    /// With this message name
    #[arg(long, alias = "message-name", value_name = "MESSAGE")]
    pub(crate) message: Option<String>,
    /// With this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// With this dependency token
    #[arg(long, alias = "dependency-token", value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// With this operation type
    #[arg(long = "type", value_name = "NUMBER")]
    pub(crate) operation_type: Option<u32>,
    /// With this correlation id
    #[arg(long, value_name = "UUID")]
    pub(crate) correlation_id: Option<Uuid>,
    /// Created by the handler of this operation
    #[arg(long, value_name = "UUID")]
    pub(crate) parent_id: Option<Uuid>,
    /// About a record of this type
    #[arg(long, alias = "primary-entity-type", value_name = "TYPE")]
    pub(crate) entity_type: Option<String>,
    /// About the record with this id
    #[arg(long, alias = "regarding-object-id", value_name = "UUID")]
    pub(crate) regarding: Option<Uuid>,
    /// Owned by this caller
    #[arg(long, alias = "owner-id", value_name = "CALLER")]
    pub(crate) owner: Option<String>,
    /// In this queue
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<String>,
    /// Created after this time (2026-11-20T15:42:00Z), or within this span before now (2h)
    #[arg(long, value_name = "TIME|SPAN", value_parser = values::since)]
    pub(crate) created_after: Option<Since>,
    /// Created before this time, or longer ago than this span
    #[arg(long, value_name = "TIME|SPAN", value_parser = values::since)]
    pub(crate) created_before: Option<Since>,
    /// Completed before this time, or longer ago than this span
    #[arg(long, value_name = "TIME|SPAN", value_parser = values::since)]
    pub(crate) completed_before: Option<Since>,
    /// Failed or Canceled, and holding their token until they are resumed (skipped)
    #[arg(long)]
    pub(crate) holds_token: bool,
    /// With a last error of this kind: the id of a group of `drumline failures`
    #[arg(long, value_name = "ID")]
    pub(crate) failure: Option<String>,
}

impl Filter {
    /// The conditions; spans count back from `now`.
    pub(crate) fn conditions(&self, now: Now) -> client::Filter {
        let time = |since: Option<Since>| -> Option<Timestamp> {
            since.map(|since| match since {
                Since::Time(time) => timestamp(time),
                Since::Ago(span) => timestamp(now.earlier(span)),
            })
        };
        let filter = client::Filter::new()
            .with(self.state, client::Filter::state)
            .with(self.status, client::Filter::status)
            .with(self.message.as_ref(), client::Filter::message_name)
            .with(self.name.as_ref(), client::Filter::name)
            .with(self.token.as_ref(), client::Filter::token)
            .with(
                self.operation_type.map(OperationType),
                client::Filter::operation_type,
            )
            .with(self.correlation_id, client::Filter::correlation_id)
            .with(self.parent_id, client::Filter::parent_id)
            .with(
                self.entity_type.as_ref(),
                client::Filter::primary_entity_type,
            )
            .with(self.regarding, client::Filter::regarding_object_id)
            .with(self.owner.as_ref(), client::Filter::owner_id)
            .with(self.queue.as_ref(), client::Filter::queue)
            .with(self.failure.as_ref(), client::Filter::failure)
            .with(time(self.created_after), client::Filter::created_after)
            .with(time(self.created_before), client::Filter::created_before)
            .with(
                time(self.completed_before),
                client::Filter::completed_before,
            );
        if self.holds_token {
            filter.holds_token()
        } else {
            filter
        }
    }
}
