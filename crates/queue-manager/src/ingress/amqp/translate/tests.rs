//! Messages, the requests that they stand for, and their keys.

use super::*;

fn envelope(kind: &str) -> Envelope {
    Envelope {
        kind: kind.to_owned(),
        content_type: Some(JSON.to_owned()),
        message_id: Some("m".to_owned()),
        ..Envelope::default()
    }
}

fn read(envelope: &Envelope, body: &str) -> Result<TranslatedRequest, Box<Problem>> {
    translate(envelope, body.as_bytes(), None, &Limits::default())
}

fn created(request: TranslatedRequest) -> Create {
    match request.call {
        Call::Create(create) => *create.unwrap(),
        Call::Execute(execute) => panic!("{execute:?}"),
    }
}

const CREATE: &str = r#"{"messageName":"a"}"#;

fn key(envelope: &Envelope) -> Option<String> {
    created(read(envelope, CREATE).unwrap()).key
}

#[test]
fn the_routing_key_says_which_request_it_is() {
    let path = |kind| read(&envelope(kind), "{}").map(|request| request.call.path());
    assert_eq!(path("").unwrap(), "/v1/operations");
    assert_eq!(path("create").unwrap(), "/v1/operations");
    assert_eq!(path("execute").unwrap(), "/v1/execute");
    assert_eq!(path("Create").unwrap_err().status, 404);
}

#[test]
fn a_create_waits_for_its_token_and_an_execute_for_all() {
    let request = |kind, body| read(&envelope(kind), body).unwrap();
    let with = r#"{"messageName":"a","dependencyToken":"t"}"#;
    let token = DependencyToken::try_from("t".to_owned()).unwrap();
    let options = Options::default();
    assert_eq!(request("", with).order(&options), Order::Token(&token));
    assert_eq!(request("", CREATE).order(&options), Order::Free);
    assert_eq!(request("", "not JSON").order(&options), Order::Free);
    assert_eq!(request("execute", "{}").order(&options), Order::Alone);
}

#[test]
fn a_create_of_an_asynchronous_request_waits_for_those_before_it() {
    let options = Options::default();
    let request = |body| read(&envelope(""), body).unwrap();
    let import = r#"{"messageName":"ImportSolution"}"#;
    assert_eq!(request(import).order(&options), Order::Requests);
    let with_token = r#"{"messageName":"ImportSolution","dependencyToken":"t"}"#;
    let token = DependencyToken::try_from("t".to_owned()).unwrap();
    assert_eq!(request(with_token).order(&options), Order::Token(&token));
    let none = Options {
        async_requests: Vec::new(),
        ..options
    };
    assert_eq!(request(import).order(&none), Order::Free);
}

#[test]
fn the_same_message_has_the_same_key_and_no_other_has() {
    let first = key(&envelope(""));
    assert!(first.as_ref().is_some_and(|key| key.starts_with("amqp-")));
    assert_eq!(first, key(&envelope("create")));
    let mut other = envelope("");
    let headers = &mut other.headers;
    headers.insert("Drumline-Caller".to_owned(), "ada".to_owned());
    assert_ne!(first, key(&other));
    let none = Envelope {
        message_id: None,
        ..envelope("")
    };
    assert_eq!(key(&none), None);
    assert!(!read(&none, CREATE).unwrap().is_repeatable);
}

#[test]
fn users_of_the_broker_do_not_share_keys() {
    let user = |id: &str| {
        Some(Arc::new(Principal {
            proof: drumline_auth::Proof::BrokerUser,
            id: id.to_owned(),
            caller: "a".to_owned(),
            organizations: drumline_auth::Organizations::All,
            roles: Vec::new(),
            may_act_for: false,
            expires: None,
            reply_to: Vec::new(),
        }))
    };
    let key = |user| {
        let request = translate(&envelope(""), CREATE.as_bytes(), user, &Limits::default());
        created(request.unwrap()).key.unwrap()
    };
    assert_eq!(key(user("a")), key(user("a")));
    assert_ne!(key(user("a")), key(user("b")));
    assert_ne!(key(user("a")), key(None));
}

#[test]
fn a_key_that_is_given_wins_over_the_message_id() {
    let mut given = envelope("");
    let headers = &mut given.headers;
    headers.insert("Idempotency-Key".to_owned(), "mine".to_owned());
    assert_eq!(key(&given).as_deref(), Some("mine"));
}

#[test]
fn a_header_that_cannot_be_read_is_not_taken_for_an_absent_one() {
    for name in HEADERS {
        let mut message = envelope("");
        message.unreadable.insert(name.to_uppercase(), "a table");
        let problem = read(&message, CREATE).unwrap_err();
        assert_eq!(
            (problem.status, problem.attributes.len()),
            (422, 1),
            "{name}"
        );
        let why = &problem.attributes[0];
        assert_eq!(
            (why.name.as_str(), why.detail.as_str()),
            (name, "must be a text, and is a table")
        );
    }
    let mut message = envelope("");
    message.unreadable.insert("x-death".to_owned(), "a list");
    assert!(read(&message, CREATE).is_ok(), "it has no meaning here");
}

#[test]
fn names_that_differ_in_their_capitalisation_are_one_header() {
    for name in HEADERS {
        let mut message = envelope("");
        for given in [name.to_owned(), name.to_uppercase()] {
            message.headers.insert(given, "a".to_owned());
        }
        let problem = read(&message, CREATE).unwrap_err();
        assert_eq!(problem.status, 422, "{name}");
        assert_eq!(problem.attributes[0].detail, "is given twice", "{name}");
    }
}

#[test]
fn bincode_is_read_as_json() {
    let mut create = wire::Create::default();
    create.attributes.message_name = "Echo".to_owned();
    create.attributes.dependency_token = Some("t".to_owned());
    create.data = Some("[1]".to_owned());
    let request = wire::Request::Create(Box::new(create));
    let message = Envelope {
        content_type: Some(BINCODE.to_owned()),
        ..envelope("")
    };
    let payload = codec::encode(&request).unwrap();
    let read = |payload: &[u8]| translate(&message, payload, None, &Limits::default());
    let json = r#"{"dependencyToken":"t","messageName":"Echo","data":[1]}"#;
    assert_eq!(
        created(read(&payload).unwrap()).request,
        CreateOperation::from_json(json.as_bytes(), &GRAMMAR).unwrap()
    );
    for end in 0..payload.len() {
        let problem = read(&payload[..end]).unwrap_err();
        assert_eq!(problem.status, 400, "{end}");
    }
}

#[test]
fn what_is_packed_is_not_understood() {
    let packed = |encoding: &str| Envelope {
        content_encoding: Some(encoding.to_owned()),
        ..envelope("")
    };
    assert_eq!(read(&packed("gzip"), "{}").unwrap_err().status, 415);
    assert!(read(&packed("UTF-8"), "{}").is_ok());
}
