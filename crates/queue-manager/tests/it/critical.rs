//! Tasks that a manager cannot do without: one that panics is reported, and the
//! partitions go to another manager.

use std::sync::Arc;

use drumline_queue_manager::{AmqpIngress, Maintenance};

use crate::support::faulty::faulty;
use crate::support::post::Post;
use crate::support::{backend, manager, until};

/// The calls that the tasks of maintenance make, and the tasks.
const CALLS: [(&str, &str); 6] = [
    ("with outbox", "relay"),
    ("with due", "due"),
    ("with locks", "leases"),
    ("pause_copies", "pauses"),
    ("with ended", "retention"),
    ("beat", "heartbeat"),
];

#[tokio::test(start_paused = true)]
async fn a_manager_whose_task_has_panicked_leaves_its_partitions_to_others() {
    for (call, task) in CALLS {
        let inner = backend();
        let (broken, faults) = faulty(&inner);
        let (fails, stays) = (manager(&broken), manager(&inner));
        let maintenance = (Maintenance::start(&fails), Maintenance::start(&stays));
        until("both are members", async || {
            inner.membership.roster().await.expect("it is there").len() == 2
        })
        .await;
        *faults.panics_at.lock().expect("not poisoned") = Some(call);
        let failure = fails.failed().await;
        assert_eq!(failure.task, task);
        assert!(!fails.health().await.is_ready(), "{task}");
        until("the manager has left", async || {
            let roster = inner.membership.roster().await.expect("it is there");
            roster.ids(|_| true) == [stays.member()]
        })
        .await;
        maintenance.0.stop().await;
        maintenance.1.stop().await;
        fails.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_ingress_that_has_panicked_is_reported() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    *faults.panics_at.lock().expect("not poisoned") = Some("check");
    let ingress = AmqpIngress::start(&manager, Arc::new(Post::default()));
    assert_eq!(manager.failed().await.task, "requests over AMQP");
    ingress.stop().await;
}
