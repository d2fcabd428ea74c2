//! The table of attributes: everything that can be said about an operation, and
//! the one place to add to.
//!
//! | part | a row says |
//! |---|---|
//! | `create!` | what a create may give: name, type, kind, default, and how a client sets it |
//! | `filter!` | what a listing can be filtered by, and where |
//! | `draft!` | what an update may change |
//! | `view!` | what is shown, and where it stands in the stored operation |
//!
//! From the rows come the types ([`table`](crate::table)), and with them the
//! readers that name all mistakes at once, the fingerprint of a create, the
//! names that are read-only, the setters of clients, and the schema of
//! `/openapi.json`. [`CreateOperation::rules`] and [`CreateOperation::into_body`]
//! say what is stored of a create.
//!
//! The texts are the document's: what is read by users is written here.

use std::borrow::Cow;

use drumline_protocol::operation::{TraceContext, execution_time_span};
use drumline_protocol::transition::legal_actions;
use drumline_protocol::{
    Body, ChainKey, Creator, DependencyToken, Extensions, FailureKey, Operation, OperationType,
    Organization, QueueName, RetryPolicy, Rules, State, Status, Timestamp, TokenPolicy, limits,
};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::draft::{self, Written};
use crate::fields::Fields;
use crate::kinds::{
    CallId, Condition, ErrorNumber, FailureId, Flag, Id, Kind, MessageName, Payload, PolicyName,
    PolicyWord, Queue, Retry, Rule, StateCode, StateWord, StatusCode, StatusWord, Text, Time,
    Token, TypeNumber, Url, Zone,
};
use crate::schema::{Form, Property};
use crate::table::{Scope, create, default, draft, filter, first, given, setter, view};
use crate::view::{ProgressView, RetryPolicyView, raw};

create! {
    /// The message name, which selects the handler.
    "messageName" message_name: String as MessageName => message_name(impl Into<String>);
    /// A name for people.
    "name" name: String as Text<{ limits::NAME_CHARS }> => name(impl Into<String>);
    /// The number of the operation type. Default: 54, Execute Async Request.
    "operationType" operation_type: OperationType as TypeNumber => operation_type(OperationType);
    /// The dependency token. Operations with the same token run strictly in order
    /// of creation. Not allowed for bulk operations (types 2, 3, 4, 5, 13, 17, 23).
    "dependencyToken" dependency_token: Option<DependencyToken> as Token => token(impl Into<String>);
    /// The queue, a pool of workers. Default: `default`.
    "queue" queue: QueueName as Queue => queue(impl Into<String>);
    /// What follows for the chain when the operation fails or is cancelled.
    /// Default: the setting of the deployment.
    "tokenPolicy" token_policy: Option<TokenPolicy> as PolicyWord => token_policy(TokenPolicy);
    /// The earliest time to start.
    "postponeUntil" postpone_until: Option<Timestamp> as Time => postpone_until(Timestamp);
    /// The latest time to start. An operation that no worker has started by then
    /// expires: it is Completed, Failed, with the error code 0x8D00000C, and the
    /// operations behind it go on. Not together with `recurrencePattern`.
    "notAfter" not_after: Option<Timestamp> as Time => not_after(Timestamp);
    /// The recurrence rule (RFC 5545), by the clocks of `recurrenceTimeZone`. Each
    /// time the rule comes due, an operation is created from this one. Empty: the
    /// operation does not recur.
    "recurrencePattern" recurrence_pattern: Option<String> as Rule => recurrence(impl Into<String>);
    /// The start of the recurrence. Default: now.
    "recurrenceStartTime" recurrence_start_time: Option<Timestamp> as Time => recurrence_start(Timestamp);
    /// The time zone whose clocks the rule goes by, as `Europe/Berlin` (IANA). Default:
    /// UTC.
    "recurrenceTimeZone" recurrence_time_zone: Option<String> as Zone
        => recurrence_time_zone(impl Into<String>);
    /// The payload: any JSON, up to 100 levels deep.
    "data" data: Option<String> as Payload => raw_data(Box<RawValue>);
    /// The same for operations that belong together. Default: that of the parent, or
    /// the operation's own id.
    "correlationId" correlation_id: Option<Uuid> as Id => correlation_id(Uuid);
    /// The id of the request that the operation comes from.
    "requestId" request_id: Option<Uuid> as CallId => request_id(Uuid);
    /// The id of the operation whose handler creates this one.
    "parentId" parent_id: Option<Uuid> as Id => parent_id(Uuid);
    /// The type of the record that the operation is about.
    "primaryEntityType" primary_entity_type: Option<String> as Text<{ limits::ENTITY_TYPE_CHARS }>
        => primary_entity_type(impl Into<String>);
    /// The id of the record that the operation is about.
    "regardingObjectId" regarding_object_id: Option<Uuid> as Id => regarding_object_id(Uuid);
    /// Whether the operation, if Succeeded, is kept for the whole retention time.
    /// Default: true.
    "retainJobHistory" retain_job_history: bool as Flag = true => retain_job_history(bool);
    /// The operation never starts a second time: it fails instead. Default: false.
    "atMostOnce" at_most_once: bool as Flag => at_most_once(bool);
    /// The webhook: an address that gets a signed POST of the operation when it
    /// is Completed, repeated until the answer is a 2xx.
    "webhookUrl" webhook_url: Option<String> as Url => webhook(impl Into<String>);
    /// The retry policy. Missing members have their defaults.
    "retryPolicy" retry: RetryPolicy as Retry => retry(draft::RetryPolicy);
}

filter! {
    /// Selects operations with exactly this name.
    "name" name: String as Text<{ limits::NAME_CHARS }>, Events => name(impl Into<String>);
    /// Selects operations with this state: a code or a name.
    "state" state: State as StateWord, List => state(State);
    /// Selects operations with this status: a code or a name.
    "status" status: Status as StatusWord, Events => status(Status);
    /// Selects operations with exactly this message name.
    "messageName" message_name: String as Text<{ limits::MESSAGE_NAME_CHARS }>, Events
        => message_name(impl Into<String>);
    /// Selects operations with this operation type, a number.
    "operationType" operation_type: OperationType as TypeNumber, List => operation_type(OperationType);
    /// Selects operations with exactly this dependency token.
    "dependencyToken" dependency_token: DependencyToken as Token, Events => token(impl Into<String>);
    /// Selects operations that were created after this time (RFC 3339).
    "createdAfter" created_after: Timestamp as Time, List => created_after(Timestamp);
    /// Selects operations that were created before this time (RFC 3339).
    "createdBefore" created_before: Timestamp as Time, List => created_before(Timestamp);
    /// Selects operations that were Completed before this time (RFC 3339).
    "completedBefore" completed_before: Timestamp as Time, List => completed_before(Timestamp);
    /// Selects operations with this correlation id, a UUID.
    "correlationId" correlation_id: Uuid as Id, Events => correlation_id(Uuid);
    /// Selects operations that the handler of this operation created, a UUID.
    "parentId" parent_id: Uuid as Id, List => parent_id(Uuid);
    /// Selects operations that are about a record of this type.
    "primaryEntityType" primary_entity_type: String as Text<{ limits::ENTITY_TYPE_CHARS }>, List
        => primary_entity_type(impl Into<String>);
    /// Selects operations that are about the record with this id, a UUID.
    "regardingObjectId" regarding_object_id: Uuid as Id, List => regarding_object_id(Uuid);
    /// Selects operations that this caller owns.
    "ownerId" owner_id: String as Text<{ limits::NAME_CHARS }>, List => owner_id(impl Into<String>);
    /// Selects operations in this queue.
    "queue" queue: QueueName as Queue, List => queue(impl Into<String>);
    /// Selects operations that hold their token, or those that do not.
    "holdsToken" holds_token: bool as Flag, Address;
    /// Selects operations whose last error is of this kind: the id of a failure group. Those
    /// that have Failed with it, and those that wait to be tried again.
    "failure" failure: FailureKey as FailureId, List => failure(impl Into<String>);
}

draft! {
    /// A change of an operation, as a client of the Dynamics service would make
    /// it. Everything else about an operation is fixed when it is created.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Update {
        /// 0 resumes, 1 pauses (or postpones, with `postponeUntil`), 3 cancels.
        "stateCode" state_code: StateCode => state(State);
        /// 0, 10 or 32, with the same effects as their states.
        "statusCode" status_code: StatusCode => status(Status);
        /// Postpones to this time.
        "postponeUntil" postpone_until: Time => postpone_until(Timestamp);
        /// The new rule of a series. Not together with the attributes above.
        "recurrencePattern" recurrence_pattern: Text<{ limits::RECURRENCE_CHARS }>
            => recurrence(impl Into<String>);
        /// The new start of the recurrence of a series, like `recurrencePattern`.
        "recurrenceStartTime" recurrence_start_time: Time => recurrence_start(Timestamp);
        /// The new time zone of a series, like `recurrencePattern`.
        "recurrenceTimeZone" recurrence_time_zone: Text<{ limits::TIME_ZONE_CHARS }>
            => recurrence_time_zone(impl Into<String>);
    }
    beside {}
}

view! {
    /// One operation as the API shows it. Unknown or unset attributes are
    /// `null`. Times are RFC 3339 in UTC with milliseconds.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct OperationView of Operation { id, header, body, report, sequence }
    /// The id. It never changes.
    "id" id: String as Id = id.to_string();
    /// A name for people; may be empty.
    "name" name: String = body.name.clone();
    /// The number of the operation type.
    "operationType" operation_type: u32 = header.rules.operation_type.0;
    /// The name of the operation type; `null` for an unlisted number.
    "operationTypeName" operation_type_name: Option<Cow<'static, str>>
        = header.rules.operation_type.name().map(Cow::Borrowed);
    /// The message name, which selects the handler.
    "messageName" message_name: String = body.message_name.clone();
    /// The number of `state`: 0, 1, 2, 3.
    "stateCode" state_code: u8 = header.status.state().code();
    /// The number of `status`: 0, 10, 20, 21, 22, 30, 31, 32.
    "statusCode" status_code: u8 = header.status.code();
    /// `Ready`, `Suspended`, `Locked` or `Completed`.
    "state" state: Cow<'static, str> = Cow::Borrowed(header.status.state().name());
    /// `WaitingForResources`, `Waiting`, `InProgress`, `Pausing`, `Canceling`,
    /// `Succeeded`, `Failed` or `Canceled`.
    "status" status: Cow<'static, str> = Cow::Borrowed(header.status.name());
    /// The dependency token. Operations with the same token run strictly in order.
    "dependencyToken" dependency_token: Option<String>
        = body.dependency_token.as_ref().map(|token| token.as_str().to_owned());
    /// What follows for the chain when the operation fails or is cancelled:
    /// `continue` or `hold`.
    "tokenPolicy" token_policy: Cow<'static, str> as PolicyName
        = Cow::Borrowed(header.rules.token_policy.name());
    /// The operation Failed or was Canceled, and its chain stands still until the
    /// operation is resumed (skipped).
    "holdsToken" holds_token: bool = header.holding;
    /// The time at which a Suspended operation becomes Ready, and a series has its
    /// next occurrence; `null`: not before it is resumed.
    "postponeUntil" postpone_until: Option<String> as Time = rfc3339(header.postpone_until);
    /// The time at which the operation expires, or would have expired, if no
    /// worker has started it by then; `null`: it does not expire.
    "notAfter" not_after: Option<String> as Time = rfc3339(header.rules.not_after);
    /// The recurrence rule (RFC 5545); `null` for operations that do not recur.
    "recurrencePattern" recurrence_pattern: Option<String>
        = header.recurrence.as_ref().map(|recurrence| recurrence.rule().to_owned());
    /// The start of the recurrence.
    "recurrenceStartTime" recurrence_start_time: Option<String> as Time
        = rfc3339(header.recurrence.as_ref().map(|recurrence| recurrence.start));
    /// The time zone whose clocks the rule goes by; `null`: UTC.
    "recurrenceTimeZone" recurrence_time_zone: Option<String>
        = header.recurrence.as_ref().and_then(|recurrence| recurrence.time_zone().map(str::to_owned));
    /// The times of the next five occurrences; only in answers about one
    /// series, not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    "nextOccurrences" next_occurrences: Option<Vec<String>> = None;
    /// The payload, exactly as it was created.
    "data" data: Option<Box<RawValue>> = body.data.as_deref().map(raw);
    /// The same for operations that belong together.
    "correlationId" correlation_id: Uuid = body.correlation_id;
    /// The id of the request that the operation comes from.
    "requestId" request_id: Option<Uuid> = body.request_id;
    /// The id of the operation whose handler created this one.
    "parentId" parent_id: Option<Uuid> = body.parent_id;
    /// The depth of the parent plus one; 0 without a parent.
    "depth" depth: u32 = body.depth;
    /// The type of the record that the operation is about.
    "primaryEntityType" primary_entity_type: Option<String> = body.primary_entity_type.clone();
    /// The id of the record that the operation is about.
    "regardingObjectId" regarding_object_id: Option<Uuid> = body.regarding_object_id;
    /// The caller that owns the operation.
    "ownerId" owner_id: String = body.owner.clone();
    /// The caller that created the operation.
    "createdBy" created_by: String = body.owner.clone();
    /// The author of the last change: a caller by its name alone, and otherwise
    /// `worker`, `manager`, `handler` or `schedule` and a name.
    "modifiedBy" modified_by: String
        = header.modified_by().map_or_else(|| body.owner.clone(), |by| by.in_words());
    /// The organization, a tenant.
    "organization" organization: String = body.organization.0.clone();
    /// The queue, a pool of workers.
    "queue" queue: String = body.queue.as_str().to_owned();
    /// The name of the worker that holds the operation, or held it last.
    "hostId" host_id: Option<String> = header.host_id.clone();
    /// The last error, for people.
    "friendlyMessage" friendly_message: Option<String>
        = report.fault.as_ref().map(|fault| fault.friendly_message.clone());
    /// The last error, for experts.
    "message" message: Option<String> = report.fault.as_ref().map(|fault| fault.message.clone());
    /// The last error, for programs.
    "errorCode" error_code: Option<String> as ErrorNumber
        = report.fault.as_ref().map(|fault| fault.code.to_string());
    /// The number of retries so far.
    "retryCount" retry_count: u32 = header.retry_count;
    /// A number that grows along the operations of one token, in their order.
    "sequence" sequence: u64 = *sequence;
    /// The time of creation.
    "createdOn" created_on: String as Time = body.created_on.to_string();
    /// The time of the last change.
    "modifiedOn" modified_on: String as Time = header.modified_on.to_string();
    /// The time at which a handler was last started.
    "startedOn" started_on: Option<String> as Time = rfc3339(header.started_on);
    /// The time at which the operation was Completed.
    "completedOn" completed_on: Option<String> as Time = rfc3339(header.completed_on);
    /// The seconds spent in handlers, with two decimals.
    "executionTimeSpan" execution_time_span: f64 = execution_time_span(header);
    /// The progress of the handler.
    "progress" progress: Option<ProgressView> = report.progress.as_ref().map(ProgressView::from);
    /// The result: any JSON.
    "result" result: Option<Box<RawValue>> = report.result.as_deref().map(raw);
    /// Whether the operation, if Succeeded, is kept for the whole retention time.
    "retainJobHistory" retain_job_history: bool = body.retain_job_history;
    /// The webhook: the address that is notified of the completion.
    "webhookUrl" webhook_url: Option<String> = body.webhook_url.clone();
    /// The number of starts of a handler, with any outcome.
    "startCount" start_count: u32 = header.starts;
    /// The number of starts that ended with the loss of the worker.
    "lostCount" lost_count: u32 = header.lost;
    /// The number of the running or latest attempt: 1 for the first, 0 before it.
    "attempt" attempt: u32 = header.attempt();
    /// The operation never starts a second time: it fails instead.
    "atMostOnce" at_most_once: bool = header.rules.at_most_once;
    /// The retry policy.
    "retryPolicy" retry_policy: RetryPolicyView = RetryPolicyView::from(&header.rules.retry);
    /// The version. It grows by one with each change.
    "version" version: u64 = header.version;
    /// The actions that a client may request now.
    "legalActions" legal_actions: Vec<Cow<'static, str>>
        = legal_actions(header).into_iter().map(|action| Cow::Borrowed(action.name())).collect();
}

fn rfc3339(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}

/// The part of a new operation that the service adds and decides.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The tenant.
    pub organization: Organization,
    /// The caller's identity.
    pub owner: String,
    /// The correlation id: that of the create, or of what it belongs to.
    pub correlation_id: Uuid,
    /// The number of operations above it.
    pub depth: u32,
    /// The time of the create.
    pub created_on: Timestamp,
    /// The trace context of the create.
    pub trace: TraceContext,
}

impl CreateOperation {
    /// The rules of the operation: in this chain, if it is in one, with the
    /// token policy of the create or of the deployment.
    #[must_use]
    pub fn rules(&self, chain: Option<ChainKey>, token_policy: TokenPolicy) -> Rules {
        Rules {
            operation_type: self.operation_type,
            chain,
            token_policy,
            transient: !self.retain_job_history,
            webhook: self.webhook_url.is_some(),
            at_most_once: self.at_most_once,
            retry: self.retry.clone(),
            not_after: self.not_after,
        }
    }

    /// The create of an operation that does the same work at once, and belongs
    /// together with `operation`. The times of the operation are not repeated, and
    /// it has no parent: the handler that created the operation knows nothing of
    /// it.
    #[must_use]
    pub fn like(operation: &Operation) -> Self {
        let Operation { header, body, .. } = operation;
        let rules = &header.rules;
        Self {
            message_name: body.message_name.clone(),
            name: body.name.clone(),
            operation_type: rules.operation_type,
            dependency_token: body.dependency_token.clone(),
            queue: body.queue.clone(),
            token_policy: Some(rules.token_policy),
            postpone_until: None,
            not_after: None,
            recurrence_pattern: None,
            recurrence_start_time: None,
            recurrence_time_zone: None,
            data: body.data.clone(),
            correlation_id: Some(body.correlation_id),
            request_id: None,
            parent_id: None,
            primary_entity_type: body.primary_entity_type.clone(),
            regarding_object_id: body.regarding_object_id,
            retain_job_history: body.retain_job_history,
            at_most_once: rules.at_most_once,
            webhook_url: body.webhook_url.clone(),
            retry: rules.retry.clone(),
            in_order_of_requests: body.dependency_token.is_none() && rules.chain.is_some(),
        }
    }

    /// The body of the operation.
    #[must_use]
    pub fn into_body(self, origin: Origin) -> Body {
        Body {
            name: self.name,
            message_name: self.message_name,
            queue: self.queue,
            dependency_token: self.dependency_token,
            data: self.data,
            correlation_id: origin.correlation_id,
            request_id: self.request_id,
            parent_id: self.parent_id,
            depth: origin.depth,
            primary_entity_type: self.primary_entity_type,
            regarding_object_id: self.regarding_object_id,
            organization: origin.organization,
            owner: origin.owner,
            creator: Creator::Caller,
            created_on: origin.created_on,
            retain_job_history: self.retain_job_history,
            webhook_url: self.webhook_url,
            trace: origin.trace,
            extensions: Extensions::default(),
        }
    }
}

#[cfg(test)]
mod tests;
