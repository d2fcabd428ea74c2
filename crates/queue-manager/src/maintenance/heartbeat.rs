//! The heartbeat of this manager, and the partitions that fall to it.

use std::sync::Arc;

use drumline_backend::membership::heartbeat_interval;
use drumline_backend::{Member, MemberId, Profile, Role, Roster, rendezvous};
use drumline_protocol::{FormatVersion, Formats, Partition, PartitionCount, version};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::handlers::{self, Workers};
use crate::service::QueueManager;

/// The partitions that fall to this manager.
pub(super) type Share = Arc<[Partition]>;

/// The receivers of what each heartbeat learns.
pub(super) struct Announce {
    /// The partitions of every task but one.
    pub(super) share: watch::Sender<Share>,
    /// True if all members count what they write.
    pub(super) all_count: watch::Sender<bool>,
    /// The partitions whose webhooks this manager sends; `None` if it cannot send
    /// any. Managers that cannot have no part in this share.
    pub(super) webhooks: Option<watch::Sender<Share>>,
    pub(super) workers: watch::Sender<Workers>,
}

/// Beats until stopped, then leaves. While the membership is unavailable the
/// last share stays: a partition with two managers is better than one without.
pub(super) async fn run(manager: QueueManager, announce: Announce, stop: CancellationToken) {
    let membership = Arc::clone(&manager.backend().membership);
    let partitions = manager.backend().store.partitions();
    let mut is_unavailable = false;
    // The formats that are to be noted in the store: at the start, and after each
    // change.
    let mut to_note = Some(manager.formats().now());
    let mut known: Option<Arc<Roster>> = None;
    while !stop.is_cancelled() {
        let itself = itself(&manager, announce.webhooks.is_some());
        match membership.beat(&itself).await {
            Ok(roster) => {
                is_unavailable = false;
                // Nearly always the roster is the one of the beat before.
                let has_changed = known
                    .as_ref()
                    .is_none_or(|known| !Arc::ptr_eq(known, &roster));
                if has_changed {
                    manager.bypass().note(&roster, manager.member());
                    to_note = manager.formats().note(&roster).or(to_note);
                }
                if let Some(formats) = to_note {
                    to_note = note_minor(&manager, formats).await;
                }
                if has_changed {
                    let mine = |is_able: fn(&Profile) -> bool| {
                        share(partitions, manager.member(), &roster, is_able)
                    };
                    let mut groups = roster.groups().iter();
                    let all_count = groups.all(|group| group.profile.counts_changes);
                    announce.all_count.send_replace(all_count);
                    announce.workers.send_replace(handlers::workers(&roster));
                    tell(&announce.share, mine(|_| true));
                    if let Some(webhooks) = &announce.webhooks {
                        tell(
                            webhooks,
                            mine(|profile| profile.sends_webhooks != Some(false)),
                        );
                    }
                    known = Some(roster);
                }
            }
            Err(error) => {
                if !is_unavailable {
                    tracing::warn!(%error, "the heartbeat failed");
                }
                is_unavailable = true;
            }
        }
        let members = known.as_ref().map_or(0, |roster| roster.len());
        stop.run_until_cancelled(tokio::time::sleep(heartbeat_interval(members)))
            .await;
    }
    if let Err(error) = membership.leave(manager.member()).await {
        tracing::debug!(%error, "the member was not removed; it expires");
    }
}

/// Notes the minor version that is written from now on; returns the formats if the
/// store was unavailable, to be noted with the next heartbeat.
async fn note_minor(manager: &QueueManager, formats: Formats) -> Option<Formats> {
    let own = version::CURRENT.store;
    match manager.store().note_minor(formats.store.minor).await {
        Ok(minor) => {
            if minor > own.minor {
                let holds = FormatVersion { minor, ..own };
                tracing::warn!(%holds, reads = %own, "the store has fields of a later release; this one keeps them and does not act on them");
            }
            None
        }
        Err(error) => {
            tracing::debug!(%error, "the minor version of the format was not noted; it is noted later");
            Some(formats)
        }
    }
}

fn itself(manager: &QueueManager, sends_webhooks: bool) -> Member {
    Member {
        id: manager.member(),
        host: manager.options().host.clone(),
        running: 0,
        started_on_ms: manager.started_on().as_millis(),
        profile: Profile {
            draining: manager.is_draining(),
            bypassed: manager.bypass().own(),
            sends_webhooks: Some(sends_webhooks),
            ..Profile::new(Role::Manager)
        },
    }
}

fn tell(task: &watch::Sender<Share>, mine: Share) {
    task.send_if_modified(|before| {
        let has_changed = **before != *mine;
        *before = mine;
        has_changed
    });
}

/// The partitions that fall to `me` among the live managers that are able.
fn share(
    partitions: PartitionCount,
    me: MemberId,
    roster: &Roster,
    is_able: fn(&Profile) -> bool,
) -> Share {
    let managers = roster.ids(|profile| profile.role == Role::Manager && is_able(profile));
    partitions
        .all()
        .filter(|partition| rendezvous::owner(u64::from(partition.get()), &managers) == Some(me))
        .collect()
}
