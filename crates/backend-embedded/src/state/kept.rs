//! Values as the state keeps them: a fraction of what they take when they are decoded.
//!
//! Most operations have the rules, the keys and the host of others, so that those are
//! shared; and most of a header is what only some of its time has: a start, an end, a
//! pause. Bodies and reports, which no verb decides by, stay in their wire format.

#[cfg(test)]
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use drumline_protocol::codec::{self, Format};
use drumline_protocol::extensions::Extensions;
use drumline_protocol::index::index_keys;
use drumline_protocol::{
    Body, ChainKey, CommitId, FlowKey, Header, IndexKey, OperationId, Organization, QueueName,
    Recurrence, Rules, State as StateCode, Status, StopRequest, Timestamp, UsageKey,
};

/// The values of a kind that are looked through for one to share. Values that are met by
/// turns are shared up to this number; each look compares as many at most.
const RECENT: usize = 8;

/// A value in its wire format.
pub(super) struct Encoded<T> {
    bytes: Box<[u8]>,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Encoded<T> {
    fn clone(&self) -> Self {
        Self::from_bytes(&self.bytes)
    }
}

impl<T> Encoded<T> {
    /// The value that is in these bytes, which the caller has encoded, or decoded once.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.into(),
            value: PhantomData,
        }
    }

    /// The wire format.
    pub(super) const fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T: Format> Encoded<T> {
    pub(super) fn of(value: &T) -> Self {
        let bytes = codec::encode(value).expect("a value without a wire format is refused before");
        Self::from_bytes(&bytes)
    }

    pub(super) fn read(&self) -> T {
        #[cfg(test)]
        DECODED.set(DECODED.get() + self.bytes.len());
        codec::decode(&self.bytes).expect("the bytes were encoded here, or decoded before")
    }
}

#[cfg(test)]
thread_local! {
    static DECODED: Cell<usize> = const { Cell::new(0) };
}

/// The bytes that this thread has decoded since the last call.
#[cfg(test)]
pub(crate) fn decoded_bytes() -> usize {
    DECODED.take()
}

/// Prints the value, not its bytes.
impl<T: Format + std::fmt::Debug> std::fmt::Debug for Encoded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.read().fmt(f)
    }
}

/// Values of the latest operations, which the next ones may share.
struct Recent<T: ?Sized>(Vec<Arc<T>>);

impl<T: ?Sized> Clone for Recent<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> Default for Recent<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: ?Sized> Recent<T> {
    fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        self.0.iter().find(|one| is_it(one)).map(Arc::clone)
    }

    fn push(&mut self, value: Arc<T>) {
        if self.0.len() == RECENT {
            self.0.remove(0);
        }
        self.0.push(value);
    }
}

/// The places of an operation in the sets, which follow from some texts of its body. They
/// are hashes, and cost more than all else of a create.
#[derive(Clone)]
pub(super) struct Places {
    pub(super) flow: FlowKey,
    pub(super) usage: UsageKey,
    /// The keys of its further indexes.
    pub(super) keys: Arc<[IndexKey]>,
}

/// The texts that the places of most operations follow from, and the places.
#[derive(Clone)]
struct Placed {
    organization: Organization,
    queue: QueueName,
    message_name: String,
    owner: String,
    places: Places,
}

impl Placed {
    fn is_of(&self, body: &Body) -> bool {
        self.organization == body.organization
            && self.queue == body.queue
            && self.message_name == body.message_name
            && self.owner == body.owner
    }
}

/// The values of a partition that operations share.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Values>);

#[derive(Clone, Default)]
struct Values {
    rules: Recent<Rules>,
    hosts: Recent<str>,
    placed: Recent<Placed>,
}

/// Prints nothing: it is no content.
impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    fn rules(&mut self, rules: Rules) -> Arc<Rules> {
        self.0.rules.find(|one| *one == rules).unwrap_or_else(|| {
            let rules = Arc::new(rules);
            Arc::make_mut(&mut self.0).rules.push(Arc::clone(&rules));
            rules
        })
    }

    fn host(&mut self, host: &str) -> Arc<str> {
        self.0.hosts.find(|one| one == host).unwrap_or_else(|| {
            let host: Arc<str> = host.into();
            Arc::make_mut(&mut self.0).hosts.push(Arc::clone(&host));
            host
        })
    }

    /// The places of an operation.
    pub(super) fn places(&mut self, id: OperationId, header: &Header, body: &Body) -> Places {
        let has_own = body.correlation_id.as_bytes() != id.as_bytes()
            || !body.name.is_empty()
            || body.parent_id.is_some()
            || body.regarding_object_id.is_some()
            || header.rules.chain.is_some();
        let known = self.0.placed.find(|one| one.is_of(body));
        match known {
            Some(known) if !has_own => known.places.clone(),
            Some(known) => Places {
                keys: index_keys(id, header, body).into(),
                ..known.places
            },
            None => {
                let places = Places {
                    flow: FlowKey::of(body),
                    usage: UsageKey::of(&body.organization),
                    keys: index_keys(id, header, body).into(),
                };
                if !has_own {
                    let placed = Placed {
                        organization: body.organization.clone(),
                        queue: body.queue.clone(),
                        message_name: body.message_name.clone(),
                        owner: body.owner.clone(),
                        places: places.clone(),
                    };
                    Arc::make_mut(&mut self.0).placed.push(Arc::new(placed));
                }
                places
            }
        }
    }
}

/// A header.
#[derive(Clone, Debug)]
pub(super) struct KeptHeader {
    pub(super) version: u64,
    pub(super) commit: CommitId,
    modified_on: Timestamp,
    /// Without the chain.
    rules: Arc<Rules>,
    pub(super) chain: Option<ChainKey>,
    pub(super) status: Status,
    /// None for an operation that only waits, as it was created.
    more: Option<Box<More>>,
}

/// The parts of an operation that was started, has ended, or waits for a time.
#[derive(Clone, Debug, Default, PartialEq)]
struct More {
    recurrence: Option<Box<Recurrence>>,
    postpone_until: Option<Timestamp>,
    stop: Option<StopRequest>,
    started_on: Option<Timestamp>,
    completed_on: Option<Timestamp>,
    execution_ms: u64,
    host: Option<Arc<str>>,
    starts: u32,
    released: u32,
    lost: u32,
    retry_count: u32,
    holding: bool,
    extensions: Extensions,
}

impl KeptHeader {
    pub(super) fn new(header: Header, shared: &mut Shared) -> Self {
        let Header {
            version,
            commit,
            status,
            rules,
            recurrence,
            holding,
            postpone_until,
            stop,
            starts,
            released,
            lost,
            retry_count,
            host_id,
            started_on,
            completed_on,
            execution_ms,
            modified_on,
            extensions,
        } = header;
        let more = More {
            recurrence: recurrence.map(Box::new),
            postpone_until,
            stop,
            started_on,
            completed_on,
            execution_ms,
            host: host_id.map(|host| shared.host(&host)),
            starts,
            released,
            lost,
            retry_count,
            holding,
            extensions,
        };
        let chain = rules.chain;
        let rules = shared.rules(Rules {
            chain: None,
            ..rules
        });
        Self {
            version,
            commit,
            modified_on,
            rules,
            chain,
            status,
            more: (more != More::default()).then(|| Box::new(more)),
        }
    }

    pub(super) const fn state(&self) -> StateCode {
        self.status.state()
    }

    pub(super) fn is_series(&self) -> bool {
        let more = self.more.as_ref();
        more.is_some_and(|more| more.recurrence.is_some())
    }

    /// The header itself.
    pub(super) fn read(&self) -> Header {
        let More {
            recurrence,
            postpone_until,
            stop,
            started_on,
            completed_on,
            execution_ms,
            host,
            starts,
            released,
            lost,
            retry_count,
            holding,
            extensions,
        } = self.more.as_deref().cloned().unwrap_or_default();
        Header {
            version: self.version,
            commit: self.commit,
            status: self.status,
            rules: Rules {
                chain: self.chain,
                ..Rules::clone(&self.rules)
            },
            recurrence: recurrence.map(|recurrence| *recurrence),
            holding,
            postpone_until,
            stop,
            starts,
            released,
            lost,
            retry_count,
            host_id: host.map(|host| host.as_ref().to_owned()),
            started_on,
            completed_on,
            execution_ms,
            modified_on: self.modified_on,
            extensions,
        }
    }
}
