//! `ExecuteMultiple`: a list of requests, each its own transaction, in the
//! order of the list.
//!
//! | continueOnError | returnResponses | comes back |
//! |---|---|---|
//! | true | true | every item |
//! | false | true | every item up to the first fault |
//! | true | false | every fault |
//! | false | false | the first fault |
//!
//! Creates that follow one another go to the store together. That changes only
//! the time that they take: they are stored in their order, and if the first
//! fault ends the batch, nothing behind it is stored.

use std::iter::Peekable;
use std::vec::IntoIter;

use drumline_api::execute::{Batch, BatchSettings, Item, KeyedCreate, RequestName};

use super::answer::{Answer, ItemAnswer, Results};
use super::fault::Fault;
use crate::error::{Error, Result};
use crate::service::create::OnFault;
use crate::service::{Actor, QueueManager};

/// Bytes of operations that one batch answers with. Requests for operations
/// behind them are faults: some pages of listings fit, a thousand would not fit
/// into memory.
const ANSWER_BYTES: usize = 64 << 20;

impl QueueManager {
    /// Executes the items of a batch.
    ///
    /// # Errors
    /// When the batch may not begin: then none of it is executed.
    pub(super) async fn execute_multiple(&self, actor: &Actor, batch: Batch) -> Result<Results> {
        let _permit = self.admit_batch(actor).await?;
        let Batch { items, settings } = batch;
        let mut responses = Responses::new(self, settings);
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() && !responses.is_over() {
            let (names, creates) = run_of_creates(&mut items);
            if !names.is_empty() {
                let created = self.create_in_order(actor, creates, on_fault(settings));
                for (name, created) in names.into_iter().zip(created.await) {
                    responses.add(created.map(|created| {
                        let (id, existed) = (created.operation.id, !created.is_new);
                        Answer::new(name, Results::created(name, id, existed))
                    }));
                }
            } else if let Some(item) = items.next() {
                responses.add(match item {
                    Ok(item) => self.execute_one(actor, item).await,
                    Err(error) => Err(error.into()),
                });
            }
        }
        Ok(responses.results())
    }
}

/// Takes the creates at the head of the list, up to the first item that is
/// something else.
fn run_of_creates(
    items: &mut Peekable<IntoIter<Result<Item, drumline_api::Error>>>,
) -> (Vec<RequestName>, Vec<KeyedCreate>) {
    let (mut names, mut creates) = (Vec::new(), Vec::new());
    while let Some(Ok(item)) = items.next_if(is_create) {
        let name = item.name();
        if let Item::Create(create) | Item::ExecuteAsync(create) = item {
            names.push(name);
            creates.push(*create);
        }
    }
    (names, creates)
}

const fn is_create(item: &Result<Item, drumline_api::Error>) -> bool {
    match item {
        Ok(Item::Create(_) | Item::ExecuteAsync(_)) => true,
        Ok(
            Item::Retrieve(_)
            | Item::RetrieveMultiple(_)
            | Item::Update(_)
            | Item::Delete(_)
            | Item::Transaction(_),
        )
        | Err(_) => false,
    }
}

const fn on_fault(settings: BatchSettings) -> OnFault {
    if settings.continue_on_error {
        OnFault::GoOn
    } else {
        OnFault::Stop
    }
}

/// The results of the items so far.
struct Responses<'a> {
    manager: &'a QueueManager,
    settings: BatchSettings,
    /// Items executed, which is the index of the next one.
    executed: usize,
    is_faulted: bool,
    /// The answers to return.
    answers: Vec<ItemAnswer>,
    /// The size of the answers.
    bytes: usize,
}

impl<'a> Responses<'a> {
    const fn new(manager: &'a QueueManager, settings: BatchSettings) -> Self {
        Self {
            manager,
            settings,
            executed: 0,
            is_faulted: false,
            answers: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds the result of the next item.
    fn add(&mut self, answer: Result<Answer>) {
        let request_index = self.executed;
        self.executed += 1;
        let (response, fault) = match answer.and_then(|answer| self.fit(answer)) {
            Ok(answer) if self.settings.return_responses => (answer.unless_nothing(), None),
            Ok(_) => return,
            Err(error) => {
                self.is_faulted = true;
                (None, Some(Fault::of(&error, self.manager.store().now())))
            }
        };
        self.answers.push(ItemAnswer {
            request_index,
            response,
            fault,
        });
    }

    /// Returns an answer if there is room for it. Only requests that change
    /// nothing have large answers, so nothing is done and then called a fault.
    fn fit(&mut self, answer: Answer) -> Result<Answer> {
        if !self.settings.return_responses {
            return Ok(answer);
        }
        self.bytes = self.bytes.saturating_add(answer.bytes());
        if answer.bytes() > 0 && self.bytes > ANSWER_BYTES {
            let limit = ANSWER_BYTES;
            return Err(Error::TooLarge { limit });
        }
        Ok(answer)
    }

    /// Returns true if the remaining items are not to be executed.
    const fn is_over(&self) -> bool {
        self.is_faulted && !self.settings.continue_on_error
    }

    fn results(self) -> Results {
        Results::Items {
            is_faulted: self.is_faulted,
            responses: self.answers,
        }
    }
}
