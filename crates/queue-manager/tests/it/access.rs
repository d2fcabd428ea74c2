//! Access to every address, with every kind of key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::StatusCode;
use drumline_auth::{ApiKey, AuthDocument, Authenticator, NewKey, Role};
use drumline_backend::Ids;
use drumline_protocol::{OperationId, Timestamp};
use drumline_queue_manager::ingress::http::openapi_json;
use drumline_queue_manager::{Access, Options, QueueManager};
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::{backend, until};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A manager with keys.
pub(crate) struct Keyed {
    pub(crate) manager: QueueManager,
    pub(crate) client: Client,
    pub(crate) path: PathBuf,
    pub(crate) document: AuthDocument,
    pub(crate) keys: BTreeMap<&'static str, ApiKey>,
}

fn new(role: Role, organizations: &[&str]) -> NewKey {
    NewKey {
        organizations: organizations.iter().map(ToString::to_string).collect(),
        roles: vec![role],
        caller: role.name().to_owned(),
        expires: None,
        may_act_for: false,
    }
}

impl Keyed {
    pub(crate) fn start(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("drumline-{}-{test}", std::process::id()));
        // A test of the same process id may have left it behind.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("a folder for tests");
        let path = folder.join("auth.toml");
        let mut document = AuthDocument::open(&path).expect("an empty file");
        let mut keys = BTreeMap::new();
        for role in Role::ALL {
            let key = document.create(&new(role, &["contoso"])).expect("a key");
            keys.insert(role.name(), key);
        }
        let expired = NewKey {
            expires: Some(Timestamp::from_millis(1_000)),
            ..new(Role::Admin, &["contoso"])
        };
        keys.insert("expired", document.create(&expired).expect("a key"));
        let other = new(Role::Admin, &["fabrikam"]);
        keys.insert("other", document.create(&other).expect("a key"));
        let several = new(Role::Admin, &["contoso", "fabrikam"]);
        keys.insert("several", document.create(&several).expect("a key"));
        let everywhere = new(Role::Admin, &["*"]);
        keys.insert("everywhere", document.create(&everywhere).expect("a key"));
        let operators = new(Role::Operator, &["*"]);
        keys.insert("operators", document.create(&operators).expect("a key"));
        keys.insert("unknown", ApiKey::generate().expect("random numbers"));
        document.save(&path).expect("written");
        let options = Options {
            access: Access::Keys(Arc::new(Authenticator::open(&path).expect("a good file"))),
            ..Options::default()
        };
        let manager = QueueManager::new(backend(), Ids::random(), options);
        Self {
            client: Client::of(&manager),
            manager,
            path,
            document,
            keys,
        }
    }

    pub(crate) async fn send(&self, key: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.send_with(key, method, path, &[], body).await
    }

    pub(crate) async fn send_with(
        &self,
        key: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let others = headers;
        let bearer = self
            .keys
            .get(key)
            .map(|key| format!("Bearer {}", key.reveal()));
        let mut headers = vec![JSON];
        headers.extend(others);
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.client.send(method, path, &headers, body).await
    }

    pub(crate) async fn create(&self, key: &str) -> Answer {
        let body = json!({"messageName": "a"});
        self.send(key, "POST", "/v1/operations", &body).await
    }
}

impl Drop for Keyed {
    fn drop(&mut self) {
        // It is in the folder for temporary files: a rest does no harm.
        let _rest = fs::remove_dir_all(self.path.parent().expect("a folder"));
    }
}

/// The roles that each address is open to: the expectation, written down here once
/// more. Letters: r reader, p producer, o operator, a admin, m metrics.
const TABLE: &[(&str, &str, &str)] = &[
    ("GET", "/v1/audit", "oa"),
    ("GET", "/v1/operations", "rpoa"),
    ("POST", "/v1/operations", "poa"),
    ("POST", "/v1/operations/create", "poa"),
    ("GET", "/v1/operations/{id}", "rpoa"),
    ("PATCH", "/v1/operations/{id}", "poa"),
    ("DELETE", "/v1/operations/{id}", "oa"),
    ("GET", "/v1/operations/{id}/history", "rpoa"),
    ("GET", "/v1/operations/{id}/attempts", "rpoa"),
    ("GET", "/v1/operations/{id}/preview", "rpoa"),
    ("POST", "/v1/operations/{id}/cancel", "poa"),
    ("POST", "/v1/operations/{id}/pause", "poa"),
    ("POST", "/v1/operations/{id}/resume", "poa"),
    ("POST", "/v1/operations/{id}/postpone", "poa"),
    ("POST", "/v1/operations/{id}/run-again", "poa"),
    ("POST", "/v1/operations/cancel", "oa"),
    ("POST", "/v1/operations/pause", "oa"),
    ("POST", "/v1/operations/resume", "oa"),
    ("POST", "/v1/operations/postpone", "oa"),
    ("POST", "/v1/operations/delete", "oa"),
    ("POST", "/v1/execute", "poa"),
    ("GET", "/v1/events", "rpoa"),
    ("GET", "/v1/pauses", "rpoa"),
    ("PUT", "/v1/pauses", "oa"),
    ("DELETE", "/v1/pauses/{id}", "oa"),
    ("GET", "/v1/actions", "rpoa"),
    ("POST", "/v1/actions", "oa"),
    ("GET", "/v1/actions/{id}", "rpoa"),
    ("POST", "/v1/actions/{id}/abort", "oa"),
    // An admin, and of all organizations, which none of these keys is.
    ("PUT", "/v1/freeze", ""),
    ("DELETE", "/v1/freeze", ""),
    ("GET", "/v1/backup", ""),
    ("GET", "/v1/workers", "oam"),
    // An operator, and of all organizations, too.
    ("POST", "/v1/workers/{id}/drain", ""),
    ("GET", "/v1/queues", "oam"),
    ("GET", "/v1/now", "rpoa"),
    ("GET", "/v1/queues/{name}/scale", "oam"),
    ("GET", "/v1/stats", "oam"),
    ("GET", "/v1/failures", "rpoa"),
    ("PUT", "/v1/failures/{id}/mute", "oa"),
    ("DELETE", "/v1/failures/{id}/mute", "oa"),
    ("GET", "/v1/whoami", "rpoam"),
    ("GET", "/v1/quotas", "rpoa"),
    ("GET", "/metrics", "oam"),
];

/// Addresses without a key.
const OPEN: &[(&str, &str)] = &[("GET", "/healthz"), ("GET", "/readyz")];

#[test]
fn the_table_has_every_address() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut served = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            served.insert((method.to_uppercase(), path.clone()));
        }
    }
    let listed = TABLE.iter().map(|(method, path, _)| (*method, *path));
    let listed = listed.chain(OPEN.iter().copied());
    let listed: BTreeSet<_> = listed
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(served, listed);
}

#[tokio::test(start_paused = true)]
async fn every_address_is_open_to_the_roles_of_the_table_alone() {
    let keyed = Keyed::start("table");
    let id = keyed.create("producer").await.id().to_string();
    for (method, path, roles) in TABLE {
        let path = path.replace("{id}", &id).replace("{name}", "default");
        for bad in ["", "unknown", "expired"] {
            let answer = keyed.send(bad, method, &path, &Value::Null).await;
            let about = format!("{bad:?} {method} {path}: {answer:?}");
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{about}");
            assert_eq!(answer.json["name"], "Unauthenticated", "{about}");
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{about}");
        }
        for role in Role::ALL {
            let may = roles.contains(role.name().chars().next().unwrap());
            if may && path == "/v1/events" {
                // Its answer does not end.
                continue;
            }
            let answer = keyed.send(role.name(), method, &path, &Value::Null).await;
            let about = format!("{role} {method} {path}: {answer:?}");
            let is_refused = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(is_refused, !may, "{about}");
            if is_refused {
                assert_eq!(answer.json["name"], "PrivilegeDenied", "{about}");
            }
        }
    }
    for (method, path) in OPEN {
        let answer = keyed.send("", method, path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_acts_in_its_organizations_only_and_in_its_own_name() {
    let keyed = Keyed::start("organizations");
    let created = keyed.create("producer").await;
    assert_eq!(created.json["organization"], "contoso", "{created:?}");
    assert_eq!(created.json["ownerId"], "producer", "{created:?}");
    let path = format!("/v1/operations/{}", created.id());
    for method in ["GET", "DELETE"] {
        let answer = keyed.send("other", method, &path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    }
    let several = keyed.create("several").await;
    assert_eq!(several.status, StatusCode::UNPROCESSABLE_ENTITY);
    let key = format!("Bearer {}", keyed.keys["producer"].reveal());
    for (name, value, expected) in [
        ("drumline-organization", "contoso", StatusCode::OK),
        ("drumline-organization", "fabrikam", StatusCode::FORBIDDEN),
        ("drumline-caller", "producer", StatusCode::OK),
        ("drumline-caller", "root", StatusCode::FORBIDDEN),
    ] {
        let headers = [("authorization", key.as_str()), (name, value)];
        let answer = keyed.client.send("GET", &path, &headers, "").await;
        assert_eq!(answer.status, expected, "{name}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_request_removes_needs_more_than_what_it_creates() {
    let keyed = Keyed::start("execute");
    let id: OperationId = keyed.create("producer").await.id();
    let request =
        |name: &str, parameters: Value| json!({"requestName": name, "parameters": parameters});
    let delete = request("Delete", json!({"id": id.to_string()}));
    let create = request("Create", json!({"target": {"messageName": "a"}}));
    let batch = |requests: Value| request("ExecuteMultiple", json!({"requests": requests}));
    let transaction =
        |requests: Value| request("ExecuteTransaction", json!({"requests": requests}));
    let removing = [
        delete.clone(),
        batch(json!([create, delete])),
        transaction(json!([delete])),
    ];
    for body in removing {
        for (key, may) in [("producer", false), ("operator", true)] {
            let answer = keyed.send(key, "POST", "/v1/execute", &body).await;
            let is_refused = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(is_refused, !may, "{key} {body}: {answer:?}");
        }
    }
    let body = batch(json!([create]));
    let answer = keyed.send("producer", "POST", "/v1/execute", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_learns_who_they_are() {
    let keyed = Keyed::start("whoami");
    let who = keyed
        .send("reader", "GET", "/v1/whoami", &Value::Null)
        .await;
    assert_eq!(who.json["keyId"], keyed.keys["reader"].id());
    assert_eq!(who.json["roles"], json!(["reader"]));
    assert_eq!(who.json["organization"], "contoso");
    assert_eq!(who.json["authenticated"], true);
}

#[tokio::test(start_paused = true)]
async fn readiness_names_no_server_to_strangers() {
    let keyed = Keyed::start("ready");
    let stranger = keyed.send("", "GET", "/readyz", &Value::Null).await;
    assert_eq!(stranger.json, json!({"ready": true, "draining": false}));
    let reader = keyed.send("reader", "GET", "/readyz", &Value::Null).await;
    assert_eq!(reader.json, stranger.json);
    let watcher = keyed.send("metrics", "GET", "/readyz", &Value::Null).await;
    assert_eq!(watcher.json["store"], "ok", "{watcher:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_file_is_in_force_soon_and_a_broken_file_changes_nothing() {
    let mut keyed = Keyed::start("reload");
    let old = keyed.keys["producer"].clone();
    let new = keyed.document.rotate(old.id()).unwrap();
    keyed.document.save(&keyed.path).unwrap();
    keyed.keys.insert("new", new);
    until("the new secret is in force", async || {
        keyed.create("new").await.status == StatusCode::CREATED
    })
    .await;
    assert_eq!(keyed.create("producer").await.status, StatusCode::CREATED);

    fs::write(&keyed.path, "[[key]]\nid = 1").unwrap();
    until("the fault is told", async || {
        let ready = keyed.send("metrics", "GET", "/readyz", &Value::Null).await;
        assert_eq!(ready.status, StatusCode::OK, "the keys of before are good");
        ready.json["keys"].is_string()
    })
    .await;
    assert_eq!(keyed.create("new").await.status, StatusCode::CREATED);

    keyed.document.revoke(old.id()).unwrap();
    keyed.document.save(&keyed.path).unwrap();
    until("the key is refused", async || {
        keyed.create("new").await.status == StatusCode::UNAUTHORIZED
    })
    .await;
    let ready = keyed.send("metrics", "GET", "/readyz", &Value::Null).await;
    assert!(ready.json["keys"].is_null(), "{ready:?}");
    keyed.manager.close().await;
}
