//! Several nodes of one cluster: here, several ways to one server.

use drumline_backend_rabbitmq::Options;
use drumline_test_servers::amqp_url;

use crate::fixtures::{connect, next, number, options, publish, soon, subscribe, work};
use crate::network::proxied_url;

#[tokio::test]
async fn a_node_that_is_away_is_passed_over() -> anyhow::Result<()> {
    let url = amqp_url().await?;
    let both = options(&format!("amqp://nobody:hush@127.0.0.1:1/%2f,{url}"));
    // Each beginning of the list is tried.
    for _ in 0..4 {
        let broker = connect(&both).await;
        publish(&broker, &work(), 1).await?;
        let used = broker.inspect().await?.node_url;
        assert_eq!(used, options(&url).url.to_string());
        broker.stop().await;
    }
    let none = Options {
        url: "amqp://me:hush@127.0.0.1:1,amqp://me:hush@127.0.0.1:2".parse()?,
        ..both
    };
    let error = drumline_backend_rabbitmq::inspect(&none).await.unwrap_err();
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn connections_move_to_another_node_and_stay_there() -> anyhow::Result<()> {
    let ((one, one_url), (other, other_url)) = (proxied_url().await?, proxied_url().await?);
    let broker = connect(&options(&format!("{one_url},{other_url}"))).await;
    let mut subscription = subscribe(&broker, &work()).await;
    publish(&broker, &work(), 1).await?;
    let delivery = next(&mut *subscription).await;
    assert_eq!(number(&delivery), 1);
    delivery.receipt.acknowledge().await?;

    let first = broker.inspect().await?.node_url;
    let proxies = [(&one, options(&one_url)), (&other, options(&other_url))];
    let lost = proxies
        .iter()
        .find(|(_, options)| options.url.to_string() == first)
        .map(|(proxy, _)| proxy)
        .expect("one of both");
    lost.refuse();
    soon(async || Ok(publish(&broker, &work(), 2).await?)).await;
    let mut subscription = subscribe(&broker, &work()).await;
    // The first message comes again if its acknowledgement was lost with the connection.
    while number(&next(&mut *subscription).await) != 2 {}
    let second = broker.inspect().await?.node_url;
    assert_ne!(first, second);
    // The first one is back, and nothing moves for it.
    lost.heal();
    assert_eq!(broker.inspect().await?.node_url, second);
    publish(&broker, &work(), 3).await?;
    Ok(())
}
