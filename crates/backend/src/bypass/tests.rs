use std::collections::BTreeMap;
use std::sync::Mutex;

use drumline_protocol::Partition;
use drumline_protocol::message::{Marker, Source};
use uuid::Uuid;

use super::*;
use crate::membership::{Group, Profile, Role};

/// A broker that notes the messages it takes; some of its queues take nothing.
#[derive(Default)]
struct Notes {
    broken: Vec<Route>,
    is_blocked: bool,
    taken: Mutex<Vec<Route>>,
}

#[async_trait]
impl Broker for Notes {
    async fn publish(&self, messages: &[(Route, Message)]) -> Vec<Result<()>> {
        let answer = |(route, _): &(Route, Message)| {
            if self.is_blocked {
                let reason = "alarm".to_owned();
                return Err(broker::Error::Blocked { reason });
            }
            if self.broken.contains(route) {
                let (route, trouble) = (route.clone(), Trouble::Silent);
                return Err(broker::Error::Queue { route, trouble });
            }
            self.taken.lock().unwrap().push(route.clone());
            Ok(())
        };
        messages.iter().map(answer).collect()
    }

    async fn subscribe(&self, _: &Route, _: NonZeroU16) -> Result<Box<dyn Subscription>> {
        Err(broker::Error::Refused)
    }

    async fn backlog(&self, route: &Route) -> Result<Option<Backlog>> {
        Ok((!self.broken.contains(route)).then_some(BACKLOG))
    }

    async fn remove_queue(&self, _: &QueueName, _: PartitionCount) -> Result<bool> {
        Ok(!self.is_blocked)
    }

    fn check(&self) -> Result<()> {
        match self.is_blocked {
            true => Err(broker::Error::Refused),
            false => Ok(()),
        }
    }

    fn connection_number(&self) -> u64 {
        7
    }

    fn bypassed(&self) -> Vec<Bypassed> {
        let silent = |route: &Route| Bypassed {
            route: route.clone(),
            trouble: Trouble::Silent,
        };
        self.broken.iter().map(silent).collect()
    }
}

const BACKLOG: Backlog = Backlog {
    messages: 3,
    consumers: 2,
};

fn route(source: Source) -> Route {
    let queue = QueueName::default();
    Route { queue, source }
}

fn lane(number: u16) -> Route {
    route(Source::Lane(Partition::new(number)))
}

fn offer(route: Route) -> (Route, Message) {
    (route, Message::Offers(Vec::new()))
}

fn marker(route: Route) -> (Route, Message) {
    let of = route.clone();
    (
        route,
        Message::Marker(Marker {
            route: of,
            stamp: 1,
        }),
    )
}

fn member(number: u128, bypassed: &[Route]) -> Group {
    let silent = |route: &Route| Bypassed {
        route: route.clone(),
        trouble: Trouble::Unconsumable,
    };
    let profile = Profile {
        bypassed: bypassed.iter().map(silent).collect(),
        ..Profile::new(Role::Worker)
    };
    Group {
        profile: Arc::new(profile),
        ids: vec![MemberId(Uuid::from_u128(number))],
    }
}

const ME: MemberId = MemberId(Uuid::from_u128(9));

/// Publishes messages over a broker with some broken queues and some that
/// another member reports. Returns whether each message was taken, and by which
/// queues.
async fn published(
    broken: &[Route],
    reported: &[Route],
    messages: &[(Route, Message)],
) -> (Vec<bool>, Vec<Route>) {
    let notes = Arc::new(Notes {
        broken: broken.to_vec(),
        ..Notes::default()
    });
    let bypass = Bypass::over(Arc::clone(&notes) as Arc<dyn Broker>);
    bypass.note(&Roster::of_groups([member(1, reported)]), ME);
    let answers = bypass.publish(messages).await;
    let taken = notes.taken.lock().unwrap().clone();
    (answers.iter().map(Result::is_ok).collect(), taken)
}

#[tokio::test]
async fn an_offer_finds_its_way_round_each_queue_that_does_not_take_it() {
    let (work, spare) = (route(Source::Work), route(Source::Spare));
    let lanes = [offer(lane(1)), offer(lane(2))];
    let (answers, taken) = published(&[lane(1)], &[], &lanes).await;
    assert_eq!(answers, [true, true]);
    assert_eq!(taken, [lane(2), work.clone()]);
    let (answers, taken) = published(&[lane(1), work.clone()], &[], &lanes).await;
    assert_eq!(answers, [true, true]);
    assert_eq!(taken, [lane(2), spare.clone()]);
    let all = [lane(1), work.clone(), spare];
    let (answers, taken) = published(&all, &[], &lanes).await;
    assert_eq!(answers, [false, true], "no queue takes it");
    assert_eq!(taken, [lane(2)]);
}

#[tokio::test]
async fn a_marker_never_leaves_the_queue_that_it_asks_about() {
    let messages = [marker(lane(1)), marker(lane(2))];
    let (answers, taken) = published(&[lane(1)], &[lane(2)], &messages).await;
    assert_eq!(answers, [false, true]);
    assert_eq!(taken, [lane(2)]);
}

#[tokio::test]
async fn a_queue_that_others_report_is_tried_last() {
    let (work, spare) = (route(Source::Work), route(Source::Spare));
    let messages = [offer(lane(1)), offer(lane(2))];
    let (_, taken) = published(&[], &[lane(1)], &messages).await;
    assert_eq!(taken, [work.clone(), lane(2)]);
    let (answers, taken) = published(
        std::slice::from_ref(&spare),
        &[lane(1), work.clone()],
        &messages,
    )
    .await;
    assert_eq!(answers, [true, true]);
    assert_eq!(
        taken,
        [lane(2), lane(1)],
        "it is tried when no other takes it"
    );
    let everything = [lane(1), work, spare];
    let (answers, taken) = published(&[], &everything, &messages).await;
    assert_eq!(answers, [true, true], "a report never stops an offer");
    assert_eq!(taken, [lane(1), lane(2)]);
}

#[tokio::test]
async fn a_broker_that_takes_nothing_is_not_bypassed() {
    let notes = Arc::new(Notes {
        is_blocked: true,
        ..Notes::default()
    });
    let bypass = Bypass::over(notes);
    let answers = bypass.publish(&[offer(lane(1))]).await;
    assert!(matches!(&answers[..], [Err(broker::Error::Blocked { .. })]));
}

#[test]
fn reports_are_those_of_the_members_that_are_there_now() {
    let notes = Notes {
        broken: vec![lane(1)],
        ..Notes::default()
    };
    let bypass = Bypass::over(Arc::new(notes));
    bypass.note(
        &Roster::of_groups([member(1, &[lane(1), lane(2)]), member(9, &[lane(3)])]),
        ME,
    );
    let all: BTreeMap<_, _> = bypass
        .bypassed()
        .into_iter()
        .map(|one| (one.route, one.trouble))
        .collect();
    let expected = [(lane(1), Trouble::Silent), (lane(2), Trouble::Unconsumable)];
    assert_eq!(
        all,
        BTreeMap::from(expected),
        "its own view first, never its own report"
    );
    assert_eq!(bypass.own().len(), 1);
    bypass.note(&Roster::default(), ME);
    assert_eq!(bypass.trouble(&lane(2)), None);
    assert_eq!(bypass.trouble(&lane(1)), Some(Trouble::Silent));
}

#[tokio::test]
async fn a_declaration_that_is_refused_to_others_is_tried() {
    let notes = Arc::new(Notes::default());
    let bypass = Bypass::over(Arc::clone(&notes) as Arc<dyn Broker>);
    let mut other = member(1, &[lane(1)]);
    for one in &mut Arc::make_mut(&mut other.profile).bypassed {
        one.trouble = Trouble::Refused("ACCESS_REFUSED".to_owned());
    }
    bypass.note(&Roster::of_groups([other]), ME);
    bypass.publish(&[offer(lane(1))]).await;
    assert_eq!(*notes.taken.lock().unwrap(), [lane(1)]);
    assert_eq!(bypass.trouble(&lane(1)), None);
    assert_eq!(bypass.bypassed().len(), 1, "people are shown it");
}

#[tokio::test]
async fn everything_but_publishing_is_left_to_the_broker() {
    for is_blocked in [false, true] {
        let bypass = Bypass::over(Arc::new(Notes {
            broken: vec![lane(1)],
            is_blocked,
            ..Notes::default()
        }));
        bypass.note(&Roster::of_groups([member(1, &[lane(2)])]), ME);
        assert_eq!(bypass.check().is_err(), is_blocked);
        assert_eq!(bypass.connection_number(), 7);
        let queue = QueueName::default();
        let removed = bypass.remove_queue(&queue, PartitionCount::DEFAULT).await;
        assert_eq!(removed.unwrap(), !is_blocked);
        assert_eq!(bypass.backlog(&lane(1)).await.unwrap(), None);
        assert_eq!(bypass.backlog(&lane(2)).await.unwrap(), Some(BACKLOG));
        assert_eq!(bypass.own_trouble(&lane(1)), Some(Trouble::Silent));
        assert_eq!(bypass.own_trouble(&lane(2)), None, "it is a report");
    }
}
