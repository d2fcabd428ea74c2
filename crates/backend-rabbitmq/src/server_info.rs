//! The broker's product and release, and the known faults of that release.
//!
//! A broker introduces itself before a client logs in. lapin does not pass that
//! on, so this module asks on a connection of its own, and closes it after the
//! greeting.

use std::fmt;
use std::io;

use drumline_backend::broker::{self, Result};
use lapin::uri::AMQPUri;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::error::{broken, silent};
use crate::options::Options;
use crate::sockets;
use crate::url::shown;

/// The protocol header of AMQP 0-9-1.
const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// Type, channel and length: what comes before the content of a frame.
const FRAME_HEADER: usize = 7;

/// The oldest release that is used.
const OLDEST: (u32, u32, u32) = (3, 10, 0);

/// The longest greeting. RabbitMQ's has some 500 bytes.
const GREETING_MAX: u32 = 64 << 10;

/// A broker's introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// The URL of the node that has answered, without its password.
    pub node_url: String,
    /// `RabbitMQ`.
    pub product: String,
    /// As `3.13.7`.
    pub version: String,
    /// Faults of that release that an operator ought to know.
    pub warnings: Vec<Warning>,
}

/// A fact about a release that an operator ought to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Not RabbitMQ, or a version that we cannot read: nothing is known.
    Unknown,
    /// Before 3.10: without quorum queues, or with those of a release that Drumline
    /// was never tried on.
    TooOld,
    /// Up to 3.13: single active consumers ignore priorities, so that the
    /// first worker gets every lane until Drumline has spread them.
    PriorityIgnored,
    /// 4.3.0 to 4.3.5: a queue with a single active consumer can stop for good
    /// when a consumer times out (rabbitmq-server#17317).
    ConsumerTimeoutDeadlock,
}

impl Warning {
    /// Returns true if Drumline must not be run on it.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        match self {
            Self::TooOld => true,
            Self::Unknown | Self::PriorityIgnored | Self::ConsumerTimeoutDeadlock => false,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Drumline was not tested with this release of RabbitMQ",
            Self::TooOld => "it is too old: use RabbitMQ 3.10 or later",
            Self::PriorityIgnored => {
                "single active consumers ignore priorities up to 3.13: \
                 a new worker gets its lanes when the others have let go of them"
            }
            Self::ConsumerTimeoutDeadlock => {
                "4.3.0 to 4.3.5 can stop a lane for good after a consumer timeout \
                 (rabbitmq-server#17317): use 4.3.6 or later"
            }
        })
    }
}

/// Connects to the first node that can be reached, listens, and hangs up.
pub(crate) async fn fetch(options: &Options) -> Result<ServerInfo> {
    let mut turns = options.url.turns();
    loop {
        match fetch_from(options, turns.node()).await {
            Ok(heard) => return Ok(heard),
            Err(error) => turns.leave(error)?,
        }
    }
}

async fn fetch_from(options: &Options, node: &AMQPUri) -> Result<ServerInfo> {
    let node_url = shown(node);
    let doing = format!("asking {node_url} for its version");
    let patience = options.node_timeout();
    match timeout(patience, hear(options, node)).await {
        Ok(Ok(frame)) => understand(&frame, &node_url).ok_or_else(|| broker::Error::Unavailable {
            message: format!("{node_url} does not speak AMQP 0-9-1"),
            source: None,
        }),
        Ok(Err(error)) => Err(broken(&doing, error)),
        Err(_elapsed) => Err(silent(&doing, patience)),
    }
}

/// The content of the first frame.
async fn hear(options: &Options, node: &AMQPUri) -> io::Result<Vec<u8>> {
    let mut stream = sockets::open(options, node, |_socket| Ok(())).await?;
    stream.write_all(HEADER).await?;
    stream.flush().await?;
    let mut header = [0; FRAME_HEADER];
    stream.read_exact(&mut header).await?;
    let [_, _, _, length @ ..] = header;
    let length = u32::from_be_bytes(length).min(GREETING_MAX);
    let mut content = Vec::new();
    stream
        .take(u64::from(length))
        .read_to_end(&mut content)
        .await?;
    Ok(content)
}

fn understand(frame: &[u8], node_url: &str) -> Option<ServerInfo> {
    let product = property(frame, "product")?;
    let version = property(frame, "version")?;
    let warnings = warnings(&product, &version);
    Some(ServerInfo {
        node_url: node_url.to_owned(),
        product,
        version,
        warnings,
    })
}

/// A text among the server's properties: its name with the length in front,
/// `S`, and the text with its length in four bytes.
fn property(frame: &[u8], name: &str) -> Option<String> {
    let mut key = vec![u8::try_from(name.len()).ok()?];
    key.extend_from_slice(name.as_bytes());
    key.push(b'S');
    let start = frame
        .windows(key.len())
        .position(|window| window == key)?
        .checked_add(key.len())?;
    let (length, rest) = frame.get(start..)?.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    String::from_utf8(rest.get(..length)?.to_vec()).ok()
}

fn warnings(product: &str, version: &str) -> Vec<Warning> {
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse::<u32>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else {
        return vec![Warning::Unknown];
    };
    let patch = numbers.next().flatten().unwrap_or(0);
    if product != "RabbitMQ" {
        return vec![Warning::Unknown];
    }
    let release = (major, minor, patch);
    let mut warnings = Vec::new();
    if release < OLDEST {
        warnings.push(Warning::TooOld);
    }
    if release < (3, 14, 0) {
        warnings.push(Warning::PriorityIgnored);
    }
    if ((4, 3, 0)..=(4, 3, 5)).contains(&release) {
        warnings.push(Warning::ConsumerTimeoutDeadlock);
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_has_its_warnings() {
        use Warning::{ConsumerTimeoutDeadlock, PriorityIgnored, TooOld, Unknown};
        let cases: [(&str, &[Warning]); 9] = [
            ("3.7.28", &[TooOld, PriorityIgnored]),
            ("3.9.29", &[TooOld, PriorityIgnored]),
            ("3.10.8", &[PriorityIgnored]),
            ("3.13.7", &[PriorityIgnored]),
            ("4.0.5", &[]),
            ("4.3.0", &[ConsumerTimeoutDeadlock]),
            ("4.3.5-rc.1", &[ConsumerTimeoutDeadlock]),
            ("4.3.6", &[]),
            ("tip", &[Unknown]),
        ];
        for (version, expected) in cases {
            assert_eq!(warnings("RabbitMQ", version), expected, "{version}");
        }
        assert_eq!(warnings("LavinMQ", "2.1.0"), [Unknown]);
    }

    #[test]
    fn a_truncated_greeting_is_none() {
        let mut frame = b"\x00\x0a\x00\x0a\x00\x09".to_vec();
        frame.extend_from_slice(b"\x07productS\x00\x00\x00\x08RabbitMQ");
        frame.extend_from_slice(b"\x07versionS\x00\x00\x00\x063.10.8");
        let whole = understand(&frame, "amqp://a").map(|greeting| greeting.version);
        assert_eq!(whole.as_deref(), Some("3.10.8"));
        for end in 0..frame.len() {
            assert_eq!(understand(&frame[..end], "amqp://a"), None, "{end}");
        }
    }
}
