//! The identities of producers over AMQP: users of a real RabbitMQ, honest and
//! forged, and a queue manager with keys.

use std::time::Duration;

use drumline_test_servers::RabbitServer;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::run::{Process, file};
use crate::servers::Place;

/// The time within which everything awaited comes, on a loaded machine too.
const DEADLINE: Duration = Duration::from_secs(60);
/// RabbitMQ's name for answers on the channel of the request.
const DIRECT: &str = "amq.rabbitmq.reply-to";

const AUTH: &str = r#"
[[amqp]]
user = "orders-svc"
organizations = ["contoso"]
roles = ["producer"]
reply_to = ["orders.answers"]

[[amqp]]
user = "ops"
organizations = ["contoso", "fabrikam"]
roles = ["operator"]

[[amqp]]
user = "viewer"
organizations = ["contoso"]
roles = ["reader"]
"#;

/// The connection of one user at RabbitMQ.
struct User {
    _connection: Connection,
    channel: Channel,
    answers: Consumer,
    exchange: String,
}

/// A request, and what it says about its sender.
#[derive(Default)]
struct Sent<'a> {
    kind: &'a str,
    user_id: Option<&'a str>,
    reply_to: Option<&'a str>,
    headers: &'a [(&'a str, &'a str)],
    body: Value,
}

impl User {
    async fn connect(place: &Place, name: &str) -> Self {
        let url = place.amqp.replace("amqp://", &format!("amqp://{name}:pw@"));
        let connection = Connection::connect(&url, ConnectionProperties::default()).await;
        let connection = connection.expect("the user may connect");
        let channel = connection.create_channel().await.expect("a channel");
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirms");
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let answers = channel
            .basic_consume(DIRECT.into(), "".into(), no_ack, FieldTable::default())
            .await
            .expect("answers on this channel");
        Self {
            _connection: connection,
            channel,
            answers,
            exchange: format!("{}.requests", place.namespace),
        }
    }

    async fn publish(&self, sent: &Sent<'_>) -> lapin::Result<()> {
        let mut headers = FieldTable::default();
        for (name, value) in sent.headers {
            headers.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        let mut properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_reply_to(sent.reply_to.unwrap_or(DIRECT).into())
            .with_headers(headers);
        if let Some(user) = sent.user_id {
            properties = properties.with_user_id(user.into());
        }
        let body = sent.body.to_string();
        let (exchange, kind) = (self.exchange.as_str().into(), sent.kind.into());
        let options = BasicPublishOptions::default();
        let confirm = self
            .channel
            .basic_publish(exchange, kind, options, body.as_bytes(), properties)
            .await?;
        assert!(confirm.await?.is_ack(), "it is confirmed");
        Ok(())
    }

    /// The status and the body of the answer to a request.
    async fn ask(&mut self, sent: &Sent<'_>) -> (i32, Value) {
        self.publish(sent).await.expect("it is published");
        let delivery = timeout(DEADLINE, self.answers.next()).await;
        let delivery = delivery.expect("it comes in time");
        let delivery = delivery.expect("more come").expect("the channel is open");
        let headers = delivery.properties.headers().as_ref().expect("headers");
        let Some(&AMQPValue::LongInt(status)) = headers.inner().get("status") else {
            unreachable!("a status is a number");
        };
        let body = serde_json::from_slice(&delivery.data).expect("answers are JSON");
        (status, body)
    }
}

fn create() -> Value {
    json!({"messageName": "Greet"})
}

fn from(user: &str) -> Sent<'_> {
    Sent {
        kind: "create",
        user_id: Some(user),
        body: create(),
        ..Sent::default()
    }
}

/// A RabbitMQ with four users besides its own, who may do everything there. One call
/// makes all of them: each takes seconds.
async fn rabbit_with_users() -> RabbitServer {
    const USERS: &str = r#"
        [begin
            rabbit_auth_backend_internal:add_user(User, <<"pw">>, <<"test">>),
            rabbit_auth_backend_internal:set_permissions(
                User, <<"/">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>)
        end || User <- [<<"orders-svc">>, <<"ops">>, <<"viewer">>, <<"stranger">>]]."#;
    let rabbit = RabbitServer::start().await.expect("a RabbitMQ");
    rabbit.rabbitmqctl(&["eval", USERS]).await.expect("users");
    rabbit
}

/// Waits until the exchange for requests is there: it is declared once a queue manager
/// is connected.
async fn until_open(place: &Place) {
    let deadline = Instant::now() + DEADLINE;
    let connection = Connection::connect(&place.amqp, ConnectionProperties::default()).await;
    let connection = connection.expect("a connection");
    loop {
        // "No" closes the channel.
        let channel = connection.create_channel().await.expect("a channel");
        let passive = ExchangeDeclareOptions {
            passive: true,
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let exchange = format!("{}.requests", place.namespace).into();
        let kind = ExchangeKind::Topic;
        let found = channel.exchange_declare(exchange, kind, passive, FieldTable::default());
        match found.await {
            Ok(()) => return,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The next message in a queue that is bound to nothing, with its reason.
async fn quarantined(channel: &Channel, place: &Place) -> String {
    let queue = format!("{}.requests.quarantine", place.namespace);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let options = BasicGetOptions { no_ack: true };
        let got = channel.basic_get(queue.as_str().into(), options).await;
        if let Some(got) = got.expect("the quarantine is there") {
            let headers = got.delivery.properties.headers().as_ref();
            let headers = headers.expect("headers").inner();
            return match headers.get("drumline-reason") {
                Some(AMQPValue::LongString(reason)) => reason.to_string(),
                other => format!("{other:?}"),
            };
        }
        assert!(Instant::now() < deadline, "nothing is in the quarantine");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_user_that_rabbitmq_has_authenticated_counts() {
    let rabbit = rabbit_with_users().await;
    let place = Place {
        amqp: rabbit.url(),
        ..Place::new("identities").await
    };
    let auth = file("auth.toml", AUTH).display().to_string();
    let arguments = [
        "queue-manager",
        "--listen=127.0.0.1:0",
        "--auth-file",
        &auth,
    ];
    let manager = Process::start(&mut place.command(&arguments));
    until_open(&place).await;

    let mut orders = User::connect(&place, "orders-svc").await;
    let (status, made) = orders.ask(&from("orders-svc")).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["organization"], "contoso");
    assert_eq!(made["ownerId"], "orders-svc");

    // RabbitMQ itself refuses the name of another user.
    let forger = User::connect(&place, "orders-svc").await;
    let forged = forger.publish(&from("ops")).await;
    let error = forged.expect_err("it is refused").to_string();
    assert!(error.contains("PRECONDITION_FAILED"), "{error}");

    let (status, none) = orders
        .ask(&Sent {
            user_id: None,
            ..from("")
        })
        .await;
    assert_eq!((status, &none["name"]), (401, &json!("Unauthenticated")));
    let mut stranger = User::connect(&place, "stranger").await;
    let (status, unknown) = stranger.ask(&from("stranger")).await;
    assert_eq!((status, &unknown["name"]), (401, &json!("Unauthenticated")));
    let text = unknown.to_string();
    assert!(!text.contains("stranger"), "{text}");
    let mut viewer = User::connect(&place, "viewer").await;
    let (status, denied) = viewer.ask(&from("viewer")).await;
    assert_eq!((status, &denied["name"]), (403, &json!("PrivilegeDenied")));

    for (name, value, expected) in [
        ("Drumline-Organization", "contoso", 201),
        ("Drumline-Organization", "fabrikam", 403),
        ("Drumline-Caller", "orders-svc", 201),
        ("Drumline-Caller", "root", 403),
    ] {
        let headers = [(name, value)];
        let sent = Sent {
            headers: &headers,
            ..from("orders-svc")
        };
        let (status, answer) = orders.ask(&sent).await;
        assert_eq!(status, expected, "{name}: {value}: {answer}");
    }
    let mut ops = User::connect(&place, "ops").await;
    let (status, undecided) = ops.ask(&from("ops")).await;
    assert_eq!(status, 422, "it has to choose: {undecided}");

    // Removing needs more than creating, and finds operations of its own tenant only.
    let delete = json!({"requestName": "Delete", "parameters": {"id": made["id"]}});
    let remove = |user| Sent {
        kind: "execute",
        body: delete.clone(),
        ..from(user)
    };
    let (status, denied) = orders.ask(&remove("orders-svc")).await;
    assert_eq!(status, 403, "{denied}");
    assert_eq!(denied["errorCode"], "0x80040220", "{denied}");
    for (organization, expected) in [("fabrikam", 404), ("contoso", 409)] {
        let headers = [("Drumline-Organization", organization)];
        let sent = Sent {
            headers: &headers,
            ..remove("ops")
        };
        let (status, answer) = ops.ask(&sent).await;
        assert_eq!(status, expected, "{organization}: {answer}");
    }
    assert_eq!(manager.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_to_queues_of_its_sender_only() {
    let rabbit = rabbit_with_users().await;
    let place = Place {
        amqp: rabbit.url(),
        ..Place::new("answers").await
    };
    let auth = file("auth.toml", AUTH).display().to_string();
    let arguments = [
        "queue-manager",
        "--listen=127.0.0.1:0",
        "--auth-file",
        &auth,
    ];
    let manager = Process::start(&mut place.command(&arguments));
    until_open(&place).await;
    let orders = User::connect(&place, "orders-svc").await;
    for queue in ["orders.answers.1", "billing.commands"] {
        let options = QueueDeclareOptions::default();
        orders
            .channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await
            .expect("a queue");
    }
    let to = |queue, user_id| Sent {
        reply_to: Some(queue),
        user_id,
        ..from("orders-svc")
    };
    for user in [Some("orders-svc"), None] {
        let sent = to("billing.commands", user);
        orders.publish(&sent).await.expect("it is published");
        let reason = quarantined(&orders.channel, &place).await;
        let expected = if user.is_some() {
            "reply-to"
        } else {
            "user_id"
        };
        assert!(reason.contains(expected), "{reason}");
    }
    let sent = to("orders.answers.1", Some("orders-svc"));
    orders.publish(&sent).await.expect("it is published");
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut own = orders
        .channel
        .basic_consume(
            "orders.answers.1".into(),
            "".into(),
            options,
            FieldTable::default(),
        )
        .await
        .expect("a consumer");
    let answer = timeout(DEADLINE, own.next()).await.expect("in time");
    let answer = answer.expect("more come").expect("the channel is open");
    let answer: Value = serde_json::from_slice(&answer.data).expect("JSON");
    assert_eq!(answer["messageName"], "Greet", "{answer}");
    let other = orders
        .channel
        .basic_get("billing.commands".into(), BasicGetOptions { no_ack: true })
        .await
        .expect("the queue is there");
    assert!(other.is_none(), "nothing was sent there");
    assert_eq!(manager.terminate(), 0);
}
