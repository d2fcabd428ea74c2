//! The port with TLS: handshakes, certificates that change, and clients that have
//! taken the wrong scheme.
//!
//! Time is not paused here: it would run while bytes are on their way.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::Ids;
use drumline_queue_manager::options::Http;
use drumline_queue_manager::{Options, QueueManager, Server};
use drumline_test_servers::{Authority, Certificate};
use drumline_tls::{ClientFiles, ServerFiles, ServerTls};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::backend;

const READY: &str = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const METRICS: &str = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// A server with a certificate, and the authority that has signed it.
struct Encrypted {
    server: Server,
    authority: Authority,
    certificate: Certificate,
    folder: PathBuf,
}

impl Encrypted {
    async fn start(test: &str, wants_certificates: bool, http: Http) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{test}"));
        drop(fs::remove_dir_all(&folder));
        let authority = Authority::create(&folder).expect("an authority");
        let certificate = authority
            .issue("server", &["localhost"])
            .expect("a certificate");
        let files = ServerFiles {
            cert: certificate.cert.clone(),
            key: certificate.key.clone(),
            client_ca: wants_certificates.then(|| authority.ca()),
        };
        let options = Options {
            tls: Some(Arc::new(ServerTls::open(files).expect("good files"))),
            http,
            ..Options::default()
        };
        let manager = QueueManager::new(backend(), Ids::random(), options);
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(any_port, manager).await.expect("a port");
        Self {
            server,
            authority,
            certificate,
            folder,
        }
    }

    async fn connect(&self, shown: Option<&Certificate>) -> std::io::Result<TlsStream<TcpStream>> {
        let files = ClientFiles {
            ca: Some(self.authority.ca()),
            cert: shown.map(|shown| shown.cert.clone()),
            key: shown.map(|shown| shown.key.clone()),
        };
        let stream = TcpStream::connect(self.server.address()).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let config = files.config().expect("good files");
        TlsConnector::from(config).connect(name, stream).await
    }

    async fn ask(&self, request: &str, shown: Option<&Certificate>) -> std::io::Result<String> {
        let mut stream = self.connect(shown).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// The certificate that new connections are shown.
    async fn shown(&self) -> CertificateDer<'static> {
        let stream = self.connect(None).await.expect("a connection");
        let (_, session) = stream.get_ref();
        let certificates = session.peer_certificates().expect("a certificate");
        certificates.first().expect("the server's").clone()
    }

    /// Asks until the answer has a text.
    async fn until(&self, request: &str, text: &str) {
        while !self
            .ask(request, None)
            .await
            .expect("an answer")
            .contains(text)
        {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_port_with_a_certificate_answers_over_https_and_tells_others_to_use_it() {
    let encrypted = Encrypted::start("scheme", false, Http::default()).await;
    assert!(encrypted.server.url().starts_with("https://127.0.0.1:"));
    let answer = encrypted.ask(READY, None).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let address = encrypted.server.address();
    let mut plain = TcpStream::connect(address).await.expect("a connection");
    plain.write_all(READY.as_bytes()).await.expect("it is read");
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("HttpsRequired"), "{answer}");
    encrypted
        .until(METRICS, "handshakes_failed_total{reason=\"plain_http\"} 1")
        .await;
    encrypted.server.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_peer_that_never_ends_its_handshake_loses_its_place() {
    let http = Http {
        connections: 1,
        // Long enough for the handshake of the next peer on a busy machine.
        handshake_timeout: Duration::from_secs(3),
        ..Http::default()
    };
    let encrypted = Encrypted::start("silent", false, http).await;
    let address = encrypted.server.address();
    let mut silent = TcpStream::connect(address).await.expect("a connection");
    // The beginning of a handshake, and no more.
    silent.write_all(&[22, 3, 1]).await.expect("it is read");
    let answer = encrypted.ask(READY, None).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let read = silent.read(&mut [0; 1]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn a_port_with_a_ca_of_clients_lets_in_its_clients_only() {
    let encrypted = Encrypted::start("clients", true, Http::default()).await;
    let client = encrypted
        .authority
        .issue("client", &["spiffe://contoso/orders"])
        .expect("a certificate");
    let answer = encrypted.ask(READY, Some(&client)).await;
    let answer = answer.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let other = Authority::create(&encrypted.folder.join("other")).expect("an authority");
    let stranger = other.issue("stranger", &["x"]).expect("a certificate");
    for shown in [None, Some(&stranger)] {
        let refused = encrypted.ask(READY, shown).await;
        let error = refused.expect_err("without a certificate");
        // The reason arrives, although the request was sent before it.
        assert!(error.get_ref().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_told() {
    let encrypted = Encrypted::start("renewed", false, Http::default()).await;
    let first = encrypted.shown().await;
    let Certificate { cert, key } = &encrypted.certificate;
    fs::write(key, "no key").expect("written");
    encrypted.until(READY, "no private key in PEM").await;
    encrypted
        .until(METRICS, "http_tls_certificate_broken 1")
        .await;
    assert_eq!(encrypted.shown().await, first, "the last good one");

    let next = encrypted.authority.issue("next", &["localhost"]);
    let next = next.expect("a certificate");
    fs::copy(&next.cert, cert).expect("written");
    fs::copy(&next.key, key).expect("written");
    while encrypted.shown().await == first {
        tokio::task::yield_now().await;
    }
    encrypted
        .until(METRICS, "http_tls_certificate_broken 0")
        .await;
    let answer = encrypted.ask(READY, None).await.expect("an answer");
    assert!(!answer.contains("PEM"), "{answer}");
}
