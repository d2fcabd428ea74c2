//! Creates that come at the same time share a request.
//!
//! ```text
//! create ─┬─ few requests under way ──→ sent alone ─────────────────────────┬─→ answer
//!         └─ REQUESTS under way ─→ waits ─→ with all that wait, at the next answer ─┘
//!                                    └─ for too long ─→ sent alone
//! ```
//!
//! A create that comes alone is sent alone and at once. Under load most of a request is not
//! the operation but what surrounds it, and this part is shared.
//!
//! Requests are tasks of their own, so none depends on a caller that polls its future. Every
//! create has a key, so one whose request failed with those of others may be sent again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use drumline_api::view::OperationView;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::client::Client;
use crate::create::Created;
use crate::error::{Error, Problem, Result};
use crate::http;

/// Requests under way before creates wait for an answer: enough to keep the service busy
/// while an answer travels.
const REQUESTS: usize = 4;
/// The most creates that share a request. The service stores about as many in one step.
const CREATES: usize = 256;
/// The most bytes of them. More would keep the small ones waiting, and proxies refuse a
/// mebibyte by default.
const BYTES: usize = 512 << 10;
/// The bytes around a create in a request.
const FRAME: usize = 64;
/// The bytes of a create that is sent alone, because the request around it costs little
/// beside it.
const LARGE: usize = 64 << 10;
/// The longest that a create waits for the answer of others. One that has not been sent then
/// is sent alone: slow answers must not keep it back.
const PATIENCE: Duration = Duration::from_millis(250);
/// The time for which every create is sent alone after a request that was shared was refused.
const REFUSED: Duration = Duration::from_secs(60);

/// The creates of a client that are under way or wait.
#[derive(Debug)]
pub(crate) struct Gathering(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests that are not answered.
    under_way: usize,
    waiting: VecDeque<Waiting>,
    /// Creates that have ever waited: the number of the last one.
    waited: u64,
    /// The time before which every create is sent alone.
    alone_until: Instant,
}

/// A create that waits for a request.
#[derive(Debug)]
struct Waiting {
    number: u64,
    key: String,
    operation: Bytes,
    answer: oneshot::Sender<Result<Created>>,
    /// The runtime of its caller, which runs as long as the caller waits.
    runtime: Handle,
}

/// The place of a create among those that wait.
#[derive(Debug)]
struct Place {
    number: u64,
    answer: oneshot::Receiver<Result<Created>>,
}

/// A request under way. At its end, those that wait are sent.
#[derive(Debug)]
struct Slot(Client);

impl Gathering {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            under_way: 0,
            waiting: VecDeque::new(),
            waited: 0,
            alone_until: Instant::now(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the right to send one more request, unless creates are to wait.
    const fn begin(&mut self) -> bool {
        let may_begin = self.under_way < REQUESTS;
        self.under_way += may_begin as usize;
        may_begin
    }

    fn wait(&mut self, key: &str, operation: &Bytes, runtime: Handle) -> Place {
        let (sender, answer) = oneshot::channel();
        self.waited += 1;
        let number = self.waited;
        self.waiting.push_back(Waiting {
            number,
            key: key.to_owned(),
            operation: operation.clone(),
            answer: sender,
            runtime,
        });
        Place { number, answer }
    }

    /// Removes a create that waits. Returns false if it is on its way.
    fn leave(&mut self, number: u64) -> bool {
        let place = self.waiting.binary_search_by_key(&number, |one| one.number);
        place.is_ok_and(|place| self.waiting.remove(place).is_some())
    }

    /// Takes what goes with the next request, in the place of one that has ended. Nothing:
    /// the place is free.
    fn next(&mut self) -> Vec<Waiting> {
        if Instant::now() < self.alone_until {
            // Without an answer, their callers send them alone.
            self.waiting.clear();
        }
        let mut bytes = 0;
        let mut taken = Vec::new();
        while taken.len() < CREATES
            && let Some(next) = self.waiting.front()
        {
            bytes += next.operation.len() + next.key.len() + FRAME;
            if bytes > BYTES && !taken.is_empty() {
                break;
            }
            let next = self.waiting.pop_front();
            // A caller that has gone wants no answer, and no operation.
            taken.extend(next.filter(|next| !next.answer.is_closed()));
        }
        if taken.is_empty() {
            self.under_way -= 1;
        }
        taken
    }
}

/// Returns true if a key is the same in a header and in JSON: a header loses blanks at its
/// ends, and has only visible ASCII.
fn may_share(key: &str) -> bool {
    key.trim_ascii() == key && key.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

impl Client {
    /// Sends a create once, alone or with others. With others only if it `may_share`, which
    /// is false after an error of which the others may have been the cause.
    pub(crate) async fn create_once(
        &self,
        key: &str,
        operation: &Bytes,
        may_share: &mut bool,
    ) -> Result<Created> {
        let Some(place) = may_share.then(|| self.place(key, operation)).flatten() else {
            return self.create_alone(key, operation).await;
        };
        let Some(created) = self.answer(place).await else {
            return self.create_alone(key, operation).await;
        };
        // The others are not the cause where certainly nothing was done.
        *may_share = created
            .as_ref()
            .err()
            .is_none_or(|error| error.is_transient() && error.nothing_was_done());
        created
    }

    /// Takes a place among those that wait, and sends them if that is possible. `None` for a
    /// create that is to be sent alone.
    fn place(&self, key: &str, operation: &Bytes) -> Option<Place> {
        if operation.len() > LARGE || !may_share(key) {
            return None;
        }
        let runtime = Handle::try_current().ok()?;
        let mut state = self.gathering().state();
        if Instant::now() < state.alone_until {
            return None;
        }
        let place = state.wait(key, operation, runtime);
        if state.begin() {
            let creates = state.next();
            drop(state);
            self.spawn_request(creates);
        }
        Some(place)
    }

    /// The answer to a create that waits. `None` if it is to be sent alone: it was not sent
    /// in time, or what it shared was refused, or has no end.
    async fn answer(&self, mut place: Place) -> Option<Result<Created>> {
        if let Ok(answer) = timeout(PATIENCE, &mut place.answer).await {
            return answer.ok();
        }
        if self.gathering().state().leave(place.number) {
            return None;
        }
        // The task ends by then, unless its runtime does not run.
        timeout(self.timeout(), place.answer).await.ok()?.ok()
    }

    /// Sends what [`State::next`] has taken, in a task of its own.
    fn spawn_request(&self, creates: Vec<Waiting>) {
        let Some(first) = creates.first() else {
            return;
        };
        let runtime = first.runtime.clone();
        let slot = Slot(self.clone());
        runtime.spawn(async move {
            slot.0.create_waiting(creates).await;
            drop(slot);
        });
    }

    /// Sends creates in one request, and hands out their answers. Without an answer, their
    /// callers send them alone.
    async fn create_waiting(&self, creates: Vec<Waiting>) {
        let mut creates = match <[Waiting; 1]>::try_from(creates) {
            Ok([create]) => {
                let created = self.create_alone(&create.key, &create.operation).await;
                // A caller that has gone wants no answer.
                drop(create.answer.send(created));
                return;
            }
            Err(creates) => creates,
        };
        // Text that is no JSON would spoil the request for the others.
        let read: Vec<Option<&RawValue>> = creates
            .iter()
            .map(|create| serde_json::from_slice(&create.operation).ok())
            .collect();
        let request = SharedRequest {
            creates: creates
                .iter()
                .zip(&read)
                .filter_map(|(create, operation)| {
                    Some(SharedCreate {
                        operation: (*operation)?,
                        idempotency_key: &create.key,
                    })
                })
                .collect(),
        };
        let Ok(body) = serde_json::to_string(&request) else {
            return;
        };
        let is_sent: Vec<bool> = read.iter().map(Option::is_some).collect();
        let mut is_sent = is_sent.into_iter();
        creates.retain(|_create| is_sent.next().unwrap_or_default());
        let request = self
            .request(Method::POST, &["v1", "operations", "create"])
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let answers = match http::exchange(request).await {
            Ok(answer) => answer.read::<SharedAnswers>(),
            Err(error) => Err(error),
        };
        match answers {
            Ok(SharedAnswers { answers }) if answers.len() == creates.len() => {
                for (create, answer) in creates.into_iter().zip(answers) {
                    drop(create.answer.send(answer.result()));
                }
            }
            // Each caller makes a pause of its own.
            Err(error) if error.is_transient() => {
                for create in creates {
                    if let Some(error) = error.transient_copy() {
                        drop(create.answer.send(Err(error)));
                    }
                }
            }
            // The service does not know the address, allows less in a request, or is not
            // what answers.
            Ok(_) | Err(_) => {
                self.gathering().state().alone_until = Instant::now() + REFUSED;
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let creates = self.0.gathering().state().next();
        self.0.spawn_request(creates);
    }
}

#[derive(Debug, Serialize)]
struct SharedRequest<'a> {
    creates: Vec<SharedCreate<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SharedCreate<'a> {
    operation: &'a RawValue,
    idempotency_key: &'a str,
}

#[derive(Debug, Deserialize)]
struct SharedAnswers {
    answers: Vec<SharedAnswer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SharedAnswer {
    status: u16,
    operation: Option<OperationView>,
    problem: Option<Problem>,
    retry_after: Option<u64>,
}

impl SharedAnswer {
    fn result(self) -> Result<Created> {
        if let Some(operation) = self.operation {
            return Ok(Created {
                existed: self.status == StatusCode::OK,
                operation,
            });
        }
        let problem = self.problem.map(|problem| Problem {
            status: self.status,
            retry_after: self.retry_after.map(Duration::from_secs),
            ..problem
        });
        match problem {
            Some(problem) => Err(Error::Refused(Box::new(problem))),
            None => Err(Error::unexpected_text("neither an operation nor a problem")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(state: &mut State, bytes: usize) -> Place {
        let operation = Bytes::from(vec![b'x'; bytes]);
        state.wait("k", &operation, Handle::current())
    }

    fn full() -> Gathering {
        let gathering = Gathering::new();
        for _ in 0..REQUESTS {
            assert!(gathering.state().begin());
        }
        assert!(!gathering.state().begin());
        gathering
    }

    #[tokio::test]
    async fn a_request_has_bounds_and_the_rest_goes_with_the_next() {
        let gathering = full();
        let mut state = gathering.state();
        let places: Vec<_> = (0..=CREATES).map(|_| wait(&mut state, 10)).collect();
        assert_eq!(state.next().len(), CREATES);
        assert_eq!(state.next().len(), 1);
        drop(places);
        let fit = BYTES / (LARGE + FRAME + 1);
        let places: Vec<_> = (0..=fit).map(|_| wait(&mut state, LARGE)).collect();
        assert_eq!(state.next().len(), fit);
        assert_eq!(state.next().len(), 1);
        drop(places);
        assert!(state.next().is_empty());
        assert_eq!(state.under_way, REQUESTS - 1, "a place is free");
    }

    #[tokio::test]
    async fn a_create_leaves_until_it_is_sent() {
        let gathering = full();
        let mut state = gathering.state();
        let places: Vec<_> = (0..3).map(|_| wait(&mut state, 10)).collect();
        assert!(state.leave(places[1].number));
        assert!(!state.leave(places[1].number));
        assert_eq!(state.next().len(), 2);
        assert!(!state.leave(places[0].number));
    }

    #[tokio::test]
    async fn after_a_refusal_those_that_wait_are_sent_alone() {
        let gathering = full();
        let mut state = gathering.state();
        let mut place = wait(&mut state, 10);
        state.alone_until = Instant::now() + REFUSED;
        assert!(state.next().is_empty());
        assert!(place.answer.try_recv().is_err());
    }

    #[test]
    fn keys_that_a_header_would_change_do_not_share() {
        for (key, may) in [
            ("order 7", true),
            ("order 7 ", false),
            ("\torder", false),
            ("bestellung 7 für", false),
            ("a\nb", false),
        ] {
            assert_eq!(may_share(key), may, "{key:?}");
        }
    }
}
