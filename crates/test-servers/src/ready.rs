//! Waits until a server answers its own protocol's greeting.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

use crate::process::Process;

/// The interval at which the port is tried: short against the start of a server
/// (Redis: about 10 ms), long against the cost of a refused connection.
const EVERY: Duration = Duration::from_millis(10);

/// The time that a server has to answer on a connection. A server accepts
/// connections a moment before it can answer, so it is asked again on a new
/// one.
const ANSWER: Duration = Duration::from_secs(1);

/// The bytes that are sent to a server, and the start of its answer when it is
/// ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    pub(crate) sent: &'static [u8],
    pub(crate) answer: &'static [u8],
}

/// Returns when `port` answers the greeting; fails when `process` ends before,
/// or after `patience`.
pub(crate) async fn wait(
    process: &mut Process,
    port: u16,
    greeting: Greeting,
    patience: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    let mut ticks = interval(EVERY);
    loop {
        ticks.tick().await;
        process.assert_running()?;
        if let Ok(Ok(true)) = timeout(ANSWER, ask(port, greeting)).await {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "port {port} does not answer within {patience:?}; {}",
            process.log_tail()
        );
    }
}

async fn ask(port: u16, greeting: Greeting) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(greeting.sent).await?;
    let mut answer = vec![0; greeting.answer.len()];
    stream
        .read_exact(&mut answer)
        .await
        .context("it closed the connection")?;
    Ok(answer == greeting.answer)
}
