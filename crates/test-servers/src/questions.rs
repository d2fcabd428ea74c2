//! Questions to a Redis in its inline protocol, for servers that are set up or watched.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

/// The time that servers may take to find each other, or to promote one of them.
const PATIENCE: Duration = Duration::from_secs(60);
/// The interval at which a server is asked whether it is so far.
const EVERY: Duration = Duration::from_millis(20);
/// The time that one answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// Repeats a question until it is answered with true.
pub(crate) async fn until(
    complaint: &'static str,
    mut question: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = interval(EVERY);
    loop {
        ticks.tick().await;
        if question().await.unwrap_or(false) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "{complaint} within {PATIENCE:?}");
    }
}

/// Sends one command, and returns the answer as it comes.
pub(crate) async fn ask(port: u16, command: &str) -> anyhow::Result<String> {
    let asking = async {
        let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?);
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        let length = |line: &str, sign: char| -> usize {
            let number = line.strip_prefix(sign).map(|rest| rest.trim_end().parse());
            number.and_then(Result::ok).unwrap_or(0)
        };
        // A text, or a list of texts.
        let texts = if answer.starts_with('$') {
            read_text(&mut stream, length(&answer, '$'), &mut answer).await?;
            0
        } else {
            length(&answer, '*')
        };
        for _ in 0..texts {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let bytes = length(&line, '$');
            answer.push_str(&line);
            read_text(&mut stream, bytes, &mut answer).await?;
        }
        anyhow::Ok(answer)
    };
    timeout(ANSWER, asking).await.context("no answer")?
}

/// Reads a text of this length and the end of its line.
async fn read_text(
    stream: &mut BufReader<TcpStream>,
    length: usize,
    answer: &mut String,
) -> anyhow::Result<()> {
    let mut text = vec![0; length + 2];
    stream.read_exact(&mut text).await?;
    answer.push_str(&String::from_utf8_lossy(&text));
    Ok(())
}
