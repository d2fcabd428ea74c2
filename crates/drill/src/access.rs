//! Requests that must be denied, made all along: without a key, with a key that may not, and
//! from another organization.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use drumline_auth::{AuthDocument, NewKey, Role};
use drumline_oracle::Probe;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::json;

use crate::clients::{CALLER, ORGANIZATION, Service};
use crate::load::{Ended, until};

/// The time between two requests.
const EVERY: Duration = Duration::from_millis(500);
/// The time that an answer may take. A manager that was stopped gives none.
const ANSWER: Duration = Duration::from_secs(3);

/// The keys of a drill.
#[derive(Debug)]
pub(crate) struct Keys {
    /// That of the drill itself.
    pub(crate) drill: String,
    reader: String,
    stranger: String,
}

impl Keys {
    /// Makes keys, and writes their hashes into a file.
    pub(crate) fn make(path: &Path) -> Result<Self> {
        let mut document = AuthDocument::open(path)?;
        let mut make = |organization: &str, role, caller: &str| -> Result<String> {
            let key = document.create(&NewKey {
                organizations: vec![organization.to_owned()],
                roles: vec![role],
                caller: caller.to_owned(),
                expires: None,
                may_act_for: false,
            })?;
            Ok(key.reveal().to_owned())
        };
        let keys = Self {
            drill: make(ORGANIZATION, Role::Operator, CALLER)?,
            reader: make(ORGANIZATION, Role::Reader, "reader")?,
            stranger: make("elsewhere", Role::Operator, "stranger")?,
        };
        document.save(path)?;
        Ok(keys)
    }
}

/// Makes requests until the end. `id` is an operation that the drill's organization has.
pub(crate) async fn probe(
    service: Arc<Service>,
    keys: Arc<Keys>,
    id: String,
    mut ended: Ended,
) -> Vec<Probe> {
    let http = Client::new();
    let mut random = fastrand::Rng::with_seed(7);
    let mut probes = Vec::new();
    let mut number: usize = 0;
    while !*ended.borrow() {
        if let Some(base) = service.bases.any(&mut random) {
            let (what, expected, request) = request(&http, &base, &keys, &id, number);
            let answer = request.timeout(ANSWER).send().await.ok();
            let answered = answer.map(|answer| answer.status());
            // A manager that is unavailable has neither denied nor allowed anything.
            let answered = answered.filter(|status| *status != StatusCode::SERVICE_UNAVAILABLE);
            probes.push(Probe {
                what: what.to_owned(),
                expected,
                answered: answered.map(|status| status.as_u16()),
            });
            number += 1;
        }
        until(&mut ended, EVERY).await;
    }
    probes
}

/// A request, and the status that it must be answered with.
fn request(
    http: &Client,
    base: &str,
    keys: &Keys,
    id: &str,
    number: usize,
) -> (&'static str, u16, RequestBuilder) {
    let operations = format!("{base}/v1/operations");
    let one = format!("{operations}/{id}");
    let new = json!({"messageName": "Drill"});
    match number % 6 {
        0 => (
            "a create without a key",
            401,
            http.post(operations).json(&new),
        ),
        1 => {
            let create = http.post(operations).json(&new);
            (
                "a create by a reader",
                403,
                create.bearer_auth(&keys.reader),
            )
        }
        2 => {
            let cancel = http.post(format!("{one}/cancel"));
            (
                "a cancel by a reader",
                403,
                cancel.bearer_auth(&keys.reader),
            )
        }
        3 => ("a look without a key", 401, http.get(one)),
        4 => {
            let look = http.get(one).bearer_auth(&keys.stranger);
            ("a look from another organization", 404, look)
        }
        _ => {
            let look = http.get(one).bearer_auth(&keys.reader);
            ("a look by a reader", 200, look)
        }
    }
}
