//! The fenced sink: a resource of the outside world that handlers write to, as users are told to
//! make them. It takes a write unless a greater fence has written to the same resource before, and
//! writes each decision into a journal of its own.
//!
//! A handler sends one line of JSON for each write and reads `1` (accepted) or `0`. The sink
//! knows neither Redis nor RabbitMQ, so its journal is evidence by itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use drumline_oracle::journal::{Journal, Line, SinkWrite, now_ns};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The longest that a handler that is being dropped waits for a connection.
const LAST: Duration = Duration::from_millis(500);

/// A write that a handler asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// The resource that is written to: the dependency token of the operation, or without
    /// one the operation itself.
    pub resource: String,
    /// The token of the operation, as a number.
    pub token: usize,
    /// The place of the operation in the token.
    pub index: usize,
    /// The operation.
    pub id: String,
    /// The fence of the run.
    pub fence: u64,
}

/// The sink. It ends when this is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    _task: JoinSet<()>,
}

impl Sink {
    /// Starts a sink that writes this journal.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(journal: Journal) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut task = JoinSet::new();
        let book = Arc::new(Mutex::new(Book::new(journal)));
        task.spawn(serve(listener, Arc::clone(&book)));
        Ok(Self {
            address,
            book,
            _task: task,
        })
    }

    /// The address that handlers connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The greatest fence that has written to a token; 0 without a write.
    #[must_use]
    pub fn fence(&self, token: usize) -> u64 {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.fences.get(&token).copied().unwrap_or(0)
    }

    /// The number of writes that it has refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.refused
    }
}

/// The greatest fence of each resource and of each token, and the journal.
#[derive(Debug)]
struct Book {
    journal: Journal,
    of_resources: HashMap<String, u64>,
    fences: HashMap<usize, u64>,
    number: u64,
    refused: u64,
}

impl Book {
    fn new(journal: Journal) -> Self {
        Self {
            journal,
            of_resources: HashMap::new(),
            fences: HashMap::new(),
            number: 0,
            refused: 0,
        }
    }

    /// Decides about a write. The decision is in the journal before it is answered.
    fn decide(&mut self, wish: Wish) -> Result<bool> {
        let greatest = self.of_resources.entry(wish.resource).or_default();
        let accepted = wish.fence >= *greatest;
        *greatest = wish.fence.max(*greatest);
        let of_token = self.fences.entry(wish.token).or_default();
        *of_token = wish.fence.max(*of_token);
        self.number += 1;
        let line = Line::Write(SinkWrite {
            number: self.number,
            token: wish.token,
            index: wish.index,
            id: wish.id,
            fence: wish.fence,
            accepted,
            at_ns: now_ns(),
        });
        self.journal.append(&line)?;
        self.refused += u64::from(!accepted);
        Ok(accepted)
    }
}

async fn serve(listener: TcpListener, book: Arc<Mutex<Book>>) {
    let mut connections = JoinSet::new();
    loop {
        // A connection that could not be accepted is made again by its handler's next run.
        if let Ok((stream, _peer)) = listener.accept().await {
            let book = Arc::clone(&book);
            connections.spawn(async move {
                // A handler that was killed has cut its connection.
                drop(answer(stream, &book).await);
            });
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(stream: TcpStream, book: &Mutex<Book>) -> Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let wish = serde_json::from_str(&line)?;
        let accepted = {
            let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
            book.decide(wish)?
        };
        write.write_all(if accepted { b"1" } else { b"0" }).await?;
    }
    Ok(())
}

/// A handler's connection to the sink.
#[derive(Debug)]
pub struct SinkConnection(TcpStream);

impl SinkConnection {
    /// Connects.
    ///
    /// # Errors
    /// When the sink is unavailable.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await;
        Ok(Self(stream.context("connect to the sink")?))
    }

    /// Writes; returns false if the fence is stale. Not cancel-safe: the write may or may not
    /// have been done.
    ///
    /// # Errors
    /// When the sink is unavailable.
    pub async fn write(&mut self, wish: &Wish) -> Result<bool> {
        let mut line = serde_json::to_vec(wish)?;
        line.push(b'\n');
        self.0.write_all(&line).await?;
        match self.0.read_u8().await? {
            b'1' => Ok(true),
            b'0' => Ok(false),
            other => bail!("the sink answered {other}"),
        }
    }
}

/// Writes without waiting for the answer, for a handler that is being dropped. Blocks its
/// thread for as long as a connection on one machine takes.
///
/// # Errors
/// When the sink is unavailable.
pub fn write_last(address: SocketAddr, wish: &Wish) -> Result<()> {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect_timeout(&address, LAST)?;
    let mut line = serde_json::to_vec(wish)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use drumline_oracle::journal::History;

    use super::*;

    #[tokio::test]
    async fn a_stale_fence_is_refused_and_every_decision_is_written_down() {
        let name = format!("drumline-sink-{}.jsonl", std::process::id());
        let path = std::env::temp_dir().join(name);
        // A test of the same process id may have left it behind.
        drop(std::fs::remove_file(&path));
        let sink = Sink::start(Journal::open(&path).unwrap()).await.unwrap();
        let mut old = SinkConnection::open(sink.address()).await.unwrap();
        let mut new = SinkConnection::open(sink.address()).await.unwrap();
        let wish = |token: usize, fence| Wish {
            resource: token.to_string(),
            token,
            index: 0,
            id: "a".to_owned(),
            fence,
        };
        assert!(old.write(&wish(1, 5)).await.unwrap());
        assert!(old.write(&wish(1, 5)).await.unwrap());
        assert!(new.write(&wish(1, 6)).await.unwrap());
        assert!(!old.write(&wish(1, 5)).await.unwrap());
        // Another token has fences of its own.
        assert!(old.write(&wish(2, 1)).await.unwrap());
        assert_eq!(sink.refused(), 1);
        let history = History::read(&[&path]).unwrap();
        let seen: Vec<_> = history
            .writes
            .iter()
            .map(|one| (one.number, one.accepted))
            .collect();
        assert_eq!(
            seen,
            [(1, true), (2, true), (3, true), (4, false), (5, true)]
        );
        std::fs::remove_file(&path).unwrap();
    }
}
