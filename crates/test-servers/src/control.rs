//! A command that runs on the servers may have RabbitMQ lose all of its data: it runs
//! `drumline-test-servers --wipe-rabbitmq`, which asks the process of the servers over a socket
//! that only this user may connect to, and waits for the answer.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use drumline_test_servers::RabbitServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// Names the socket, in the environment of the command.
pub(crate) const CONTROL: &str = "DRUMLINE_TEST_SERVERS_CONTROL";

/// The answer when it is done.
const WIPED: &str = "wiped";

/// The socket, which is removed at the end.
#[derive(Debug)]
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens on a socket of this process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let name = format!("drumline-test-servers-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // A killed process of the same id may have left it behind.
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path);
        let listener = listener.with_context(|| format!("cannot listen on {}", path.display()))?;
        Ok(Self { listener, path })
    }

    /// The path of the socket.
    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Does what it is asked for, one after the other, for ever.
    pub(crate) async fn serve(&self, rabbit: &RabbitServer) {
        loop {
            let Ok((mut stream, _peer)) = self.listener.accept().await else {
                continue;
            };
            let answer = match wipe(rabbit).await {
                Ok(()) => WIPED.to_owned(),
                Err(error) => format!("{error:#}"),
            };
            // A command that has gone does not want the answer.
            drop(stream.write_all(answer.as_bytes()).await);
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

async fn wipe(rabbit: &RabbitServer) -> anyhow::Result<()> {
    rabbit.wipe()?;
    rabbit.restart().await
}

/// Asks the process of the servers, and waits until RabbitMQ is up again.
#[expect(
    clippy::disallowed_methods,
    reason = "the servers name their socket in the environment"
)]
pub(crate) async fn ask() -> anyhow::Result<()> {
    let path = std::env::var(CONTROL).with_context(|| {
        format!("{CONTROL} is not set: run the command with `drumline-test-servers -- COMMAND`")
    })?;
    let mut stream = UnixStream::connect(path).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    if answer != WIPED {
        bail!("RabbitMQ was not wiped: {answer}");
    }
    Ok(())
}
