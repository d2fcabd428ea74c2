//! RabbitMQ passes the suite that every broker passes.

use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::Broker;
use drumline_backend_rabbitmq::{Namespace, Options, RabbitBroker};
use drumline_conformance::BrokerHarness;

/// The times for which a busy RabbitMQ is waited for again, each as long as its patience.
const AGAIN: u32 = 20;

/// A namespace of its own on a server that others use too.
struct Harness {
    options: Options,
    /// True if lanes share a channel: its consumers are cancelled before they give back.
    is_shared: bool,
}

async fn harness() -> Harness {
    let url = drumline_test_servers::amqp_url().await.expect("a RabbitMQ");
    let namespace = format!("test-{:016x}", fastrand::u64(..));
    let options = Options {
        namespace: namespace.parse::<Namespace>().expect("a namespace"),
        ..Options::new(url.parse().expect("a URL"))
    };
    Harness {
        options,
        is_shared: false,
    }
}

#[async_trait]
impl BrokerHarness for Harness {
    async fn connect(&self) -> Arc<dyn Broker> {
        let broker = RabbitBroker::start(self.options.clone());
        let mut connected = broker.connected().await;
        for _ in 0..AGAIN {
            if connected.is_ok() {
                break;
            }
            connected = broker.connected().await;
        }
        connected.expect("RabbitMQ answers");
        Arc::new(broker)
    }

    fn gives_back_in_order(&self) -> bool {
        !self.is_shared
    }
}

drumline_conformance::broker_suite!(harness);

/// The same with all lanes on one channel.
mod shared_channel {
    use std::num::NonZeroUsize;

    use super::Harness;

    async fn harness() -> Harness {
        let mut harness = super::harness().await;
        harness.options.consumer_channels = NonZeroUsize::MIN;
        harness.is_shared = true;
        harness
    }

    drumline_conformance::broker_suite!(harness);
}
