//! A socket to a server, with TLS around it, whose errors say what to change.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::encryption::{Encryption, HandshakeError};
use crate::trouble::Names;

/// An encrypted socket.
#[derive(Debug)]
pub struct Encrypted {
    stream: Box<TlsStream<TcpStream>>,
    server: String,
    names: Names,
}

impl Encryption {
    /// Makes the handshake with a server on a connected socket. `host` is the one of
    /// the URL, and `names` are the settings that an error names. Bound it in time:
    /// a server may say nothing. Dropping the future closes the socket.
    ///
    /// # Errors
    /// When a file cannot be used, or the handshake fails; [`HandshakeError`] is among
    /// the causes, unless the connection has broken.
    pub async fn encrypt(
        self,
        stream: TcpStream,
        host: &str,
        names: Names,
    ) -> io::Result<Encrypted> {
        let server = host.to_owned();
        let named = server.clone();
        let shaken = async {
            // Files are read, which may block.
            let reading = tokio::task::spawn_blocking(move || self.connector(&named));
            let (config, name) = reading.await?.map_err(io::Error::other)?;
            TlsConnector::from(config).connect(name, stream).await
        };
        match shaken.await {
            Ok(stream) => Ok(Encrypted {
                stream: Box::new(stream),
                server,
                names,
            }),
            Err(error) => Err(explained(error, &server, names)),
        }
    }
}

/// The error with the server's name and the way out, if TLS is its cause.
fn explained(error: io::Error, server: &str, names: Names) -> io::Error {
    match HandshakeError::of(&error, server, names) {
        Some(explained) => io::Error::other(explained),
        None => error,
    }
}

impl Encrypted {
    // With TLS 1.3, a client hears that its certificate is refused when it reads.
    fn explain<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        result.map_err(|error| explained(error, &self.server, self.names))
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.explain(read)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.explain(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.explain(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.explain(shut)
    }
}
