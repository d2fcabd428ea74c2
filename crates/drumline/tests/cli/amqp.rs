//! Requests over AMQP, end to end: a producer with a client library, a real
//! RabbitMQ that is killed in between, a queue manager and a worker as
//! processes.

use std::time::Duration;

use drumline_api::wire;
use drumline_protocol::codec;
use drumline_test_servers::RabbitServer;
use futures_util::StreamExt as _;
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::run::{Process, end, file};
use crate::servers::Place;

const JSON: &str = "application/json";
const BINCODE: &str = "application/x-drumline-bincode";
/// The time within which everything awaited comes, on a loaded machine too.
const DEADLINE: Duration = Duration::from_secs(60);

/// A producer, with a queue for its answers.
struct Producer {
    _connection: Connection,
    channel: Channel,
    namespace: String,
    answers: Consumer,
    reply_to: String,
}

impl Producer {
    /// Connects, again until it succeeds: the exchange exists once a queue
    /// manager is connected.
    async fn connect(place: &Place) -> Self {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match Self::try_connect(place).await {
                Ok(producer) => return producer,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn try_connect(place: &Place) -> lapin::Result<Self> {
        let connection = Connection::connect(&place.amqp, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        // Checks that the exchange exists, on a channel of its own, as "no"
        // closes it.
        let exchange = format!("{}.requests", place.namespace).into();
        let passive = lapin::options::ExchangeDeclareOptions {
            passive: true,
            durable: true,
            ..Default::default()
        };
        let kind = lapin::ExchangeKind::Topic;
        channel
            .exchange_declare(exchange, kind, passive, FieldTable::default())
            .await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("".into(), exclusive, FieldTable::default())
            .await?;
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let name = queue.name().clone();
        let answers = channel
            .basic_consume(name.clone(), "".into(), no_ack, FieldTable::default())
            .await?;
        Ok(Self {
            _connection: connection,
            channel,
            namespace: place.namespace.clone(),
            answers,
            reply_to: name.to_string(),
        })
    }

    /// Publishes a request, which RabbitMQ has on disk afterwards.
    async fn publish(&self, kind: &str, content_type: &str, id: &str, payload: &[u8]) {
        let properties = BasicProperties::default()
            .with_content_type(content_type.into())
            .with_delivery_mode(2)
            .with_reply_to(self.reply_to.as_str().into())
            .with_correlation_id(id.into())
            .with_message_id(id.into());
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let exchange = format!("{}.requests", self.namespace).into();
        let confirm = self
            .channel
            .basic_publish(exchange, kind.into(), mandatory, payload, properties)
            .await
            .expect("it is published");
        let confirmation = confirm.await.expect("it is confirmed");
        assert!(confirmation.is_ack(), "{confirmation:?}");
    }

    /// The next answer: its correlation id, the status, the body.
    async fn answer(&mut self) -> (String, i32, Value) {
        let delivery = timeout(DEADLINE, self.answers.next()).await;
        let delivery = delivery.expect("it comes in time");
        let delivery = delivery.expect("more come").expect("the channel is open");
        let properties = &delivery.properties;
        let id = properties.correlation_id().as_ref().expect("an id");
        let headers = properties.headers().as_ref().expect("headers");
        let status = headers.inner().get("status");
        let Some(&AMQPValue::LongInt(status)) = status else {
            unreachable!("a status is a number: {status:?}");
        };
        let body = serde_json::from_slice(&delivery.data).expect("answers are JSON");
        (id.to_string(), status, body)
    }

    /// The message in the quarantine, taken off it.
    async fn quarantined(&self) -> Option<BasicGetMessage> {
        let queue = format!("{}.requests.quarantine", self.namespace);
        let got = self
            .channel
            .basic_get(queue.into(), BasicGetOptions::default())
            .await
            .expect("the quarantine is there")?;
        got.delivery
            .ack(BasicAckOptions::default())
            .await
            .expect("the channel is open");
        Some(got)
    }
}

fn create(name: &str) -> Vec<u8> {
    let request = json!({"messageName": "Greet", "name": name, "dependencyToken": "t"});
    request.to_string().into_bytes()
}

fn bincode(name: &str) -> Vec<u8> {
    let mut create = wire::Create::default();
    create.attributes.message_name = "Greet".to_owned();
    create.attributes.name = Some(name.to_owned());
    create.attributes.dependency_token = Some("t".to_owned());
    codec::encode(&wire::Request::Create(Box::new(create))).expect("it can be written")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_amqp_are_executed_answered_and_never_lost() {
    let rabbit = RabbitServer::start().await.expect("a RabbitMQ");
    let place = Place {
        amqp: rabbit.url(),
        ..Place::new("amqp").await
    };
    let manager = Process::start(&mut place.command(&["queue-manager", "--listen=127.0.0.1:0"]));
    let mut producer = Producer::connect(&place).await;
    producer
        .publish("create", JSON, "one", &create("one"))
        .await;
    let (id, status, first) = producer.answer().await;
    assert_eq!((id.as_str(), status), ("one", 201), "{first}");
    producer.publish("", BINCODE, "two", &bincode("two")).await;
    let (id, status, second) = producer.answer().await;
    assert_eq!((id.as_str(), status), ("two", 201), "{second}");
    assert_eq!(second["name"], "two");

    // Again: the same operation, and no other.
    producer
        .publish("create", JSON, "one", &create("one"))
        .await;
    let (_, status, again) = producer.answer().await;
    assert_eq!((status, &again["id"]), (200, &first["id"]), "{again}");

    let retrieve = json!({"requestName": "Retrieve", "parameters": {"id": first["id"]}});
    let retrieve = retrieve.to_string();
    producer
        .publish("execute", JSON, "three", retrieve.as_bytes())
        .await;
    let (_, status, found) = producer.answer().await;
    assert_eq!(status, 200, "{found}");
    assert_eq!(found["results"]["operation"]["name"], "one", "{found}");

    producer.publish("create", JSON, "bad", b"{not JSON").await;
    let (id, status, fault) = producer.answer().await;
    assert_eq!((id.as_str(), status), ("bad", 400), "{fault}");
    let kept = producer.quarantined().await.expect("it is quarantined");
    assert_eq!(kept.delivery.data, b"{not JSON");
    let headers = kept.delivery.properties.headers().as_ref();
    let code = headers.and_then(|headers| headers.inner().get("drumline-code"));
    let expected = AMQPValue::LongString("0x8D000006".into());
    assert_eq!(code, Some(&expected));

    // Confirmed and unanswered requests survive the server's death: no manager
    // can take them before, and the manager that runs afterwards does. The
    // queues exist for longer than RabbitMQ takes to note it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(manager.terminate(), 0);
    for number in 0..50 {
        let name = format!("later {number}");
        producer
            .publish("create", JSON, &name, &create(&name))
            .await;
    }
    rabbit.kill().expect("it dies");
    rabbit.restart().await.expect("it comes back");
    let manager = Process::start(&mut place.command(&["queue-manager", "--listen=127.0.0.1:0"]));
    let url = manager.url();
    let mut producer = Producer::connect(&place).await;
    // Each is sent twice: a producer without an answer may ask again.
    for number in 0..50 {
        let name = format!("later {number}");
        producer
            .publish("create", JSON, &name, &create(&name))
            .await;
    }
    for number in 0..50 {
        let (id, status, body) = producer.answer().await;
        assert!(
            status == 200 || status == 201,
            "{number}: {id} {status} {body}"
        );
    }
    let list = |state: &str| {
        let state = format!("--state={state}");
        let mut command = place.command(&["list", "--limit=0", "-o", "json", &state]);
        let listed = end(command.env("DRUMLINE_SERVER", &url));
        assert_eq!(listed.code, 0, "{listed:?}");
        listed.json()
    };
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"Greet\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; echo '{}'\"]\n",
    );
    let handlers = handlers.display().to_string();
    let worker = Process::start(&mut place.command(&["worker", "--handlers", &handlers]));
    let (mut deadline, mut most) = (Instant::now() + DEADLINE, 0);
    loop {
        let completed = list("Completed").len();
        if completed >= 52 {
            break;
        }
        // One after the other, each with processes of its own: a busy machine needs minutes.
        if completed > most {
            (deadline, most) = (Instant::now() + DEADLINE, completed);
        }
        assert!(Instant::now() < deadline, "{:?}", list("Ready"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut done = list("Completed");
    assert_eq!(done.len(), 52);
    done.sort_by_key(|operation| operation["sequence"].as_u64());
    let names = done.iter().map(|operation| operation["name"].clone());
    let later = (0..50).map(|number| format!("later {number}"));
    let expected = ["one", "two"].map(str::to_owned).into_iter().chain(later);
    assert!(names.eq(expected), "they are in the order of publishing");
    assert!(producer.quarantined().await.is_none());
    assert_eq!(worker.terminate(), 0);
    assert_eq!(manager.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_intake_there_is_no_exchange() {
    let place = Place::new("no-intake").await;
    let manager = Process::start(&mut place.command(&[
        "queue-manager",
        "--listen=127.0.0.1:0",
        "--intake=false",
    ]));
    assert!(Producer::try_connect(&place).await.is_err());
    assert_eq!(manager.terminate(), 0);
}
