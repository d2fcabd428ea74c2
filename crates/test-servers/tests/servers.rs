//! The private servers do what other tests rely on.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use drumline_test_servers::{Direction, RabbitServer, RedisServer, TcpProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

async fn ask(address: &str, command: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(command.as_bytes()).await?;
    let mut buffer = [0; 256];
    let count = stream.read(&mut buffer).await?;
    anyhow::ensure!(count > 0, "closed");
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

#[tokio::test]
async fn redis_keeps_its_data_over_a_kill_and_loses_them_by_a_wipe() -> anyhow::Result<()> {
    let redis = RedisServer::start().await?;
    let address = redis.address();
    assert_eq!(ask(&address, "SET a 1\r\n").await?, "+OK\r\n");
    redis.kill()?;
    assert!(ask(&address, "GET a\r\n").await.is_err());
    redis.restart().await?;
    assert_eq!(ask(&address, "GET a\r\n").await?, "$1\r\n1\r\n");
    redis.wipe()?;
    redis.restart().await?;
    assert_eq!(ask(&address, "GET a\r\n").await?, "$-1\r\n");
    Ok(())
}

#[tokio::test]
async fn a_stopped_redis_says_nothing_until_it_goes_on() -> anyhow::Result<()> {
    let redis = RedisServer::start().await?;
    redis.stop_signal()?;
    let address = redis.address();
    let mut answer = Box::pin(ask(&address, "PING\r\n"));
    assert!(
        timeout(Duration::from_millis(100), &mut answer)
            .await
            .is_err()
    );
    redis.cont()?;
    assert_eq!(answer.await?, "+PONG\r\n");
    Ok(())
}

#[tokio::test]
async fn dropped_servers_leave_neither_process_nor_files() -> anyhow::Result<()> {
    let redis = RedisServer::start().await?;
    let (address, log) = (redis.address(), redis.log());
    drop(redis);
    assert!(ask(&address, "PING\r\n").await.is_err());
    assert!(!log.exists());
    Ok(())
}

#[tokio::test]
async fn a_killed_test_process_leaves_no_server_behind() -> anyhow::Result<()> {
    let file = std::env::temp_dir().join(format!("drumline-killed-{}", std::process::id()));
    // A test of the same process id may have left it behind.
    drop(std::fs::remove_file(&file));
    let mut owner = tokio::process::Command::new(env!("CARGO_BIN_EXE_drumline-test-servers"))
        .args(["--only", "redis", "--write"])
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()?;
    let text = soon(async || Ok(std::fs::read_to_string(&file)?)).await?;
    let (_, address) = text
        .lines()
        .next()
        .and_then(|line| line.split_once("redis://"))
        .context("no address")?;
    assert_eq!(ask(address, "PING\r\n").await?, "+PONG\r\n");
    owner.kill().await?;
    soon(async || match ask(address, "PING\r\n").await {
        Ok(_) => bail!("Redis still answers"),
        Err(_) => Ok(()),
    })
    .await?;
    std::fs::remove_file(&file)?;
    Ok(())
}

/// Tries until it succeeds; returns the last failure after a minute.
async fn soon<T>(mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut ticks = interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        match attempt().await {
            Err(_) if Instant::now() < deadline => {}
            result => return result,
        }
    }
}

#[tokio::test]
async fn rabbitmq_survives_a_kill_and_starts_empty_after_a_wipe() -> anyhow::Result<()> {
    let rabbit = RabbitServer::start().await?;
    rabbit.rabbitmqctl(&["add_vhost", "kept"]).await?;
    rabbit.kill()?;
    rabbit.restart().await?;
    assert!(rabbit.rabbitmqctl(&["list_vhosts"]).await?.contains("kept"));
    rabbit.wipe()?;
    rabbit.restart().await?;
    assert!(!rabbit.rabbitmqctl(&["list_vhosts"]).await?.contains("kept"));
    Ok(())
}

#[tokio::test]
async fn the_proxy_forwards_cuts_swallows_and_heals() -> anyhow::Result<()> {
    let redis = RedisServer::start().await?;
    let proxy = TcpProxy::start(&redis.address()).await?;
    let through = proxy.address().to_string();
    assert_eq!(ask(&through, "PING\r\n").await?, "+PONG\r\n");

    let mut stream = TcpStream::connect(&through).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).await?;
    proxy.cut();
    assert_eq!(stream.read(&mut pong).await.unwrap_or(0), 0);

    for blind in [None, Some(Direction::ToServer), Some(Direction::ToClient)] {
        match blind {
            None => proxy.blackhole(),
            Some(direction) => proxy.silence(direction),
        }
        let mut answer = Box::pin(ask(&through, "PING\r\n"));
        assert!(
            timeout(Duration::from_millis(100), &mut answer)
                .await
                .is_err()
        );
        proxy.heal();
        assert!(answer.await.is_err(), "bytes were lost, so it must be cut");
        assert_eq!(ask(&through, "PING\r\n").await?, "+PONG\r\n");
    }

    proxy.refuse();
    assert!(ask(&through, "PING\r\n").await.is_err());
    proxy.heal();
    assert_eq!(ask(&through, "PING\r\n").await?, "+PONG\r\n");
    Ok(())
}

#[tokio::test]
async fn the_proxy_delays_each_way() -> anyhow::Result<()> {
    let redis = RedisServer::start().await?;
    let proxy = TcpProxy::start(&redis.address()).await?;
    proxy.delay(Duration::from_millis(60));
    let started = Instant::now();
    ask(&proxy.address().to_string(), "PING\r\n").await?;
    assert!(started.elapsed() >= Duration::from_millis(120));
    Ok(())
}
