//! Waits until a server answers its own protocol's probe.

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
/// one. On a busy machine, an answer takes seconds.
const ANSWER: Duration = Duration::from_secs(10);

/// The bytes that are sent to a server, and the start of its answer when it is
/// ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) sent: &'static [u8],
    pub(crate) answer: &'static [u8],
}

/// Returns when `port` answers the probe; fails when `process` ends before,
/// or after `start_timeout`.
pub(crate) async fn wait(
    process: &mut Process,
    port: u16,
    probe: Probe,
    start_timeout: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + start_timeout;
    let mut ticks = interval(EVERY);
    loop {
        ticks.tick().await;
        process.assert_running()?;
        if let Ok(Ok(true)) = timeout(ANSWER, ask(port, probe)).await {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "port {port} does not answer within {start_timeout:?}; {}",
            process.log_tail()
        );
    }
}

async fn ask(port: u16, probe: Probe) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(probe.sent).await?;
    let mut answer = vec![0; probe.answer.len()];
    stream
        .read_exact(&mut answer)
        .await
        .context("it closed the connection")?;
    Ok(answer == probe.answer)
}
