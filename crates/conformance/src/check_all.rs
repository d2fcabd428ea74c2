//! A check of a whole store, for the tests of every store.

use drumline_backend::Store;
use drumline_backend::store::{CheckPage, CheckStep};
use drumline_protocol::Partition;

/// Goes through the whole store, `limit` entries a step; returns all that was found.
///
/// # Panics
/// When the store does not answer.
pub async fn check_all(
    store: &dyn Store,
    partitions: Vec<Partition>,
    limit: usize,
    repair: bool,
) -> CheckPage {
    let mut step = CheckStep {
        partitions,
        place: None,
        limit,
        repair,
    };
    let mut all = CheckPage::default();
    loop {
        let page = store.check_step(&step).await.expect("check_step");
        all.looked_at += page.looked_at;
        all.faults.extend(page.faults);
        all.uncounted.extend(page.uncounted);
        let Some(next) = page.next else { return all };
        step.place = Some(next);
    }
}
