//! RabbitMQ passes the suite that every broker passes.

use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::Broker;
use drumline_backend_rabbitmq::{Namespace, Options, RabbitBroker};
use drumline_conformance::BrokerHarness;

/// A namespace of its own on a server that others use too.
struct Harness {
    options: Options,
}

async fn harness() -> Harness {
    let url = drumline_test_servers::amqp_url().await.expect("a RabbitMQ");
    let namespace = format!("test-{:016x}", fastrand::u64(..));
    let options = Options {
        namespace: namespace.parse::<Namespace>().expect("a namespace"),
        ..Options::new(url.parse().expect("a URL"))
    };
    Harness { options }
}

#[async_trait]
impl BrokerHarness for Harness {
    async fn connect(&self) -> Arc<dyn Broker> {
        let broker = RabbitBroker::start(self.options.clone());
        broker.connected().await.expect("RabbitMQ answers");
        Arc::new(broker)
    }
}

drumline_conformance::broker_suite!(harness);
