//! The check of Redis: its release, its eviction, and its persistence.

use std::collections::BTreeSet;
use std::time::Duration;

use drumline_backend::store;
use drumline_backend_redis::{
    ClusterView, MissingRight, Options, SentinelView, ServerInfo, cluster_view, inspect_each,
    missing_rights, sentinel_views,
};
use drumline_process::masked;
use drumline_protocol::text::counted;

use super::Finding;
use super::reasons_with;
use crate::cli::service::Servers;
use crate::output::reasons;
use crate::run::backend::servers::redis_options;

const SUBJECT: &str = "Redis";
/// The share of its memory that may be used before an operator should look.
const FULL_PERCENT: u64 = 80;
/// The difference between the clocks of two nodes of a cluster that an operator should end:
/// times to run are judged by each node's own.
const CLOCKS_APART: Duration = Duration::from_millis(500);

pub(super) async fn check(servers: &Servers) -> Vec<Finding> {
    let options = match redis_options(servers, 1) {
        Ok(options) => options,
        Err(failure) => return vec![Finding::bad(SUBJECT, reasons(&failure.error))],
    };
    let url = masked(&servers.redis_url);
    match inspect_each(&options).await {
        Ok(all) => {
            let mut findings = Vec::new();
            let mut is_usable = true;
            let mut nodes = Vec::new();
            for (node, info) in all {
                let place = node.as_deref().unwrap_or(&url);
                let info = match info {
                    Ok(info) => info,
                    Err(error) => {
                        is_usable = false;
                        findings.push(unusable(place, error));
                        continue;
                    }
                };
                let objections = match node {
                    Some(_) => info.objections_to_node(),
                    None => info.objections(),
                };
                is_usable &= objections.is_empty();
                let mut found = judge(&info, objections, place);
                found.extend(waiting(&info, options.wait_replicas));
                if node.is_some() {
                    for finding in found.iter_mut().skip(1) {
                        finding.text = format!("{place}: {}", finding.text);
                    }
                }
                findings.extend(found);
                nodes.push((node, info));
            }
            findings.extend(sentinels(
                &sentinel_views(&options).await.unwrap_or_default(),
            ));
            match cluster_view(&options).await {
                Ok(view) => findings.extend(view.iter().flat_map(|view| cluster(view, &nodes))),
                Err(error) => findings.push(Finding::bad(
                    SUBJECT,
                    format!(
                        "the cluster cannot be looked at: {}",
                        reasons(&error.into())
                    ),
                )),
            }
            if is_usable {
                findings.extend(rights(&options).await);
            }
            findings
        }
        Err(error) => vec![unusable(&url, error)],
    }
}

fn unusable(place: &str, error: store::Error) -> Finding {
    let reasons = reasons_with(&error.into(), "start it, or correct --redis-url");
    Finding::bad(SUBJECT, format!("not usable at {place}: {reasons}"))
}

/// Judges one server.
fn judge(info: &ServerInfo, objections: Vec<String>, place: &str) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(
        SUBJECT,
        format!(
            "{} {} ({}, {}) at {place}",
            info.product, info.version, info.mode, info.role
        ),
    )];
    findings.extend(
        objections
            .into_iter()
            .map(|objection| Finding::bad(SUBJECT, objection)),
    );
    let risks = info.risks();
    if risks.is_empty() {
        findings.push(Finding::ok(
            SUBJECT,
            "appendfsync always: what was answered survives a power cut",
        ));
    }
    findings.extend(risks.into_iter().map(|risk| Finding::warn(SUBJECT, risk)));
    findings.extend(
        info.failover_risk()
            .map(|risk| Finding::warn(SUBJECT, risk)),
    );
    findings.push(memory(info));
    findings
}

/// Judges whether there are the replicas that --redis-wait-replicas waits for.
fn waiting(info: &ServerInfo, wanted: u16) -> Option<Finding> {
    let wanted = u64::from(wanted);
    if wanted == 0 {
        return None;
    }
    let replicas = info.replicas;
    Some(if replicas < wanted {
        let text = format!(
            "{replicas} replicas follow, and --redis-wait-replicas {wanted} waits for more: every create is refused; \
             start the replicas, or wait for fewer"
        );
        Finding::bad(SUBJECT, text)
    } else if replicas == wanted {
        let text = format!(
            "{replicas} replicas follow, and --redis-wait-replicas waits for all: the loss of one stops every create; \
             add a replica"
        );
        Finding::warn(SUBJECT, text)
    } else {
        let text = format!(
            "{wanted} of {replicas} replicas have what is answered (--redis-wait-replicas)"
        );
        Finding::ok(SUBJECT, text)
    })
}

/// Judges whether the sentinels agree, and whether they can promote a replica. No view: the
/// URL names no sentinels.
fn sentinels(views: &[SentinelView]) -> Vec<Finding> {
    let answers = || views.iter().filter(|view| view.primary.is_ok());
    let mut findings: Vec<Finding> = views
        .iter()
        .filter_map(|view| {
            let reason = view.primary.as_ref().err()?;
            let text = format!(
                "the sentinel {} does not help: {reason}; start it, or correct --redis-url",
                view.sentinel
            );
            Some(Finding::warn(SUBJECT, text))
        })
        .collect();
    let primaries: BTreeSet<&String> = answers().flat_map(|view| &view.primary).collect();
    if primaries.len() > 1 {
        let text = format!(
            "the sentinels name different primaries ({primaries:?}): a promotion is under way, or the network is cut \
             in two; look again, then at `SENTINEL MASTER` of each"
        );
        findings.push(Finding::warn(SUBJECT, text));
    }
    let Some(view) = answers().max_by_key(|view| view.others) else {
        return findings;
    };
    let all = view.others + 1;
    let primary = primaries
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>();
    findings.push(Finding::ok(
        SUBJECT,
        format!(
            "{}, quorum {}, {}, primary {}",
            counted(all, "sentinel", "sentinels"),
            view.quorum,
            counted(view.replicas, "replica", "replicas"),
            primary.join(" or ")
        ),
    ));
    if all < 3 {
        let text = "with fewer than three sentinels no replica is promoted when the machine of one is lost; start three";
        findings.push(Finding::warn(SUBJECT, text));
    }
    if all > u64::try_from(views.len()).unwrap_or(u64::MAX) {
        let text = format!(
            "--redis-url names {} of {all} sentinels: name all, so that each may be lost",
            views.len()
        );
        findings.push(Finding::warn(SUBJECT, text));
    }
    if view.replicas == 0 {
        let text = "the sentinels know no replica: none can be promoted; add one with `replicaof`";
        findings.push(Finding::warn(SUBJECT, text));
    }
    findings
}

/// Judges a cluster as a whole, and whether each of its nodes may be lost.
fn cluster(view: &ClusterView, nodes: &[(Option<String>, ServerInfo)]) -> Vec<Finding> {
    let replicas: u64 = nodes.iter().map(|(_, info)| info.replicas).sum();
    let mut findings = vec![Finding::ok(
        SUBJECT,
        format!(
            "a cluster of {} with slots, {}, clocks at most {} ms apart",
            counted(
                u64::try_from(nodes.len()).unwrap_or(u64::MAX),
                "node",
                "nodes"
            ),
            counted(replicas, "replica", "replicas"),
            view.clocks_apart.as_millis()
        ),
    )];
    if view.uncovered > 0 {
        let text = format!(
            "{} slots of the cluster have no node: what is in them stands still; start the node that had them, or \
             look at `redis-cli --cluster check`",
            view.uncovered
        );
        findings.push(Finding::bad(SUBJECT, text));
    }
    if view.requires_coverage == Some(true) {
        let text = "one node that is gone stops all others: set cluster-require-full-coverage no on each node";
        findings.push(Finding::warn(SUBJECT, text));
    }
    if view.clocks_apart > CLOCKS_APART {
        let text = "the clocks of the nodes differ: operations wake early or late, and ends are listed late; let NTP set them";
        findings.push(Finding::warn(SUBJECT, text));
    }
    for (node, _) in nodes.iter().filter(|(_, info)| info.replicas == 0) {
        let node = node.as_deref().unwrap_or_default();
        let text = format!(
            "the node {node} has no replica: what it has stands still while it is gone; add one"
        );
        findings.push(Finding::warn(SUBJECT, text));
    }
    findings
}

/// Tries the rights of the user.
async fn rights(options: &Options) -> Vec<Finding> {
    match missing_rights(options).await {
        Ok(missing) if missing.is_empty() => {
            vec![Finding::ok(SUBJECT, "the user may run every command that is needed")]
        }
        Ok(missing) => missing
            .into_iter()
            .map(|MissingRight { command, reason }| {
                let text = format!(
                    "the user may not run {command} ({reason}): allow it with ACL SETUSER, on the keys and the channel of \
                     the namespace"
                );
                Finding::bad(SUBJECT, text)
            })
            .collect(),
        Err(error) => vec![Finding::bad(
            SUBJECT,
            format!("the rights of the user cannot be tried: {}", reasons(&error.into())),
        )],
    }
}

fn memory(info: &ServerInfo) -> Finding {
    let used = info.used_memory >> 20;
    if info.max_memory == 0 {
        return Finding::ok(
            SUBJECT,
            format!("{used} MiB used, no maxmemory: the machine's memory is the limit"),
        );
    }
    let most = info.max_memory >> 20;
    let percent = info.used_memory.saturating_mul(100) / info.max_memory;
    let text = format!("{used} of {most} MiB used ({percent} %)");
    if percent < FULL_PERCENT {
        Finding::ok(SUBJECT, text)
    } else {
        Finding::warn(
            SUBJECT,
            format!(
                "{text}: when it is full, creates are refused; raise maxmemory or delete Completed operations"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn info() -> ServerInfo {
        ServerInfo {
            product: "Redis",
            version: "7.0.15".to_owned(),
            compatible: "7.0.15".to_owned(),
            run_id: "x".to_owned(),
            mode: "standalone".to_owned(),
            role: "master".to_owned(),
            replicas: 0,
            waits_for_replicas: false,
            used_memory: 100 << 20,
            max_memory: 1000 << 20,
            max_memory_policy: "noeviction".to_owned(),
            append_only: true,
            append_fsync: Some("always".to_owned()),
        }
    }

    fn worst(info: &ServerInfo) -> Level {
        let findings = judge(info, info.objections(), "redis://host");
        findings.iter().map(|finding| finding.level).max().unwrap()
    }

    #[test]
    fn each_setting_has_its_verdict() {
        assert_eq!(worst(&info()), Level::Ok);
        let nearly_full = ServerInfo {
            used_memory: 900 << 20,
            ..info()
        };
        assert_eq!(worst(&nearly_full), Level::Warn);
        let followed = ServerInfo {
            replicas: 1,
            ..info()
        };
        assert_eq!(worst(&followed), Level::Warn);
        let forgetful = ServerInfo {
            append_fsync: Some("everysec".to_owned()),
            ..info()
        };
        assert_eq!(worst(&forgetful), Level::Warn);
        let evicting = ServerInfo {
            max_memory_policy: "allkeys-lru".to_owned(),
            ..info()
        };
        assert_eq!(worst(&evicting), Level::Bad);
    }

    #[test]
    fn replicas_that_are_waited_for_must_be_there() {
        let level = |replicas, wanted| {
            let info = ServerInfo { replicas, ..info() };
            waiting(&info, wanted).map(|finding| finding.level)
        };
        assert_eq!(level(0, 0), None);
        assert_eq!(level(0, 1), Some(Level::Bad));
        assert_eq!(level(1, 1), Some(Level::Warn));
        assert_eq!(level(2, 1), Some(Level::Ok));
    }

    #[test]
    fn a_cluster_that_cannot_lose_a_node_is_told() {
        let well = ClusterView {
            uncovered: 0,
            requires_coverage: Some(false),
            clocks_apart: Duration::from_millis(2),
        };
        let told = |view: &ClusterView, replicas| {
            let info = ServerInfo { replicas, ..info() };
            let nodes = [
                (Some("a:1".to_owned()), info.clone()),
                (Some("b:2".to_owned()), info),
            ];
            let found = cluster(view, &nodes).into_iter();
            let found = found.filter(|finding| finding.level != Level::Ok);
            found.map(|finding| finding.text).collect::<Vec<_>>()
        };
        assert_eq!(told(&well, 1), [""; 0]);
        assert!(told(&well, 0).join("\n").contains("b:2 has no replica"));
        for (view, words) in [
            (
                ClusterView {
                    uncovered: 5,
                    ..well.clone()
                },
                "5 slots",
            ),
            (
                ClusterView {
                    requires_coverage: Some(true),
                    ..well.clone()
                },
                "cluster-require-full-coverage no",
            ),
            (
                ClusterView {
                    clocks_apart: Duration::from_secs(1),
                    ..well.clone()
                },
                "clocks of the nodes differ",
            ),
        ] {
            let told = told(&view, 1).join("\n");
            assert!(told.contains(words), "{words}: {told}");
        }
    }

    #[test]
    fn sentinels_that_cannot_promote_are_told() {
        let view = |primary: Result<&str, &str>, others, replicas| SentinelView {
            sentinel: "s:26379".to_owned(),
            primary: primary.map(str::to_owned).map_err(str::to_owned),
            quorum: 2,
            others,
            replicas,
        };
        let told = |views: &[SentinelView]| {
            let found = sentinels(views);
            found
                .into_iter()
                .filter(|finding| finding.level != Level::Ok)
                .map(|finding| finding.text)
                .collect::<Vec<_>>()
        };
        let well = view(Ok("a:1"), 2, 2);
        assert!(told(&[]).is_empty() && sentinels(&[]).is_empty());
        assert_eq!(told(&[well.clone(), well.clone(), well.clone()]), [""; 0]);
        for (views, words) in [
            (
                vec![well.clone(), well.clone(), view(Err("refused"), 0, 0)],
                "does not help: refused",
            ),
            (
                vec![well.clone(), well.clone(), view(Ok("b:1"), 2, 2)],
                "different primaries",
            ),
            (vec![view(Ok("a:1"), 0, 2)], "fewer than three"),
            (vec![well.clone(), well.clone()], "names 2 of 3"),
            (vec![view(Ok("a:1"), 2, 0); 3], "no replica"),
        ] {
            let told = told(&views).join("\n");
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
