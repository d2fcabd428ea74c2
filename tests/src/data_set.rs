//! A data set: what a fleet has left in Redis and RabbitMQ, as text.
//!
//! Each line of a data set is a command of Redis or a message of RabbitMQ, in words
//! between quotes, as `redis-cli` shows them: printable characters stand for
//! themselves, and all others are written as `\xff`.
//!
//! ```text
//! "SET" "drumline:{meta}" "format=4 partitions=4"
//! "MESSAGE" "drumline.work.default" "" "D\x00\x01…"
//! ```

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// The first word of a line that is a message: queue, content type and content
/// follow.
pub const MESSAGE: &str = "MESSAGE";

/// A line: its words.
pub type Line = Vec<Vec<u8>>;

/// Writes lines as text.
#[must_use]
pub fn to_text(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let words: Vec<String> = line.iter().map(|word| quoted(word)).collect();
        text.push_str(&words.join(" "));
        text.push('\n');
    }
    text
}

fn quoted(word: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in word {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

/// Reads lines from text. Lines that start with `#` are for people.
///
/// # Errors
/// When a line is not written as [`to_text`] writes it.
pub fn from_text(text: &str) -> Result<Vec<Line>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .enumerate()
        .map(|(number, line)| words(line).with_context(|| format!("line {number}")))
        .collect()
}

fn words(line: &str) -> Result<Line> {
    let mut words = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        ensure!(*first == b'"', "a word starts with a quote");
        let mut word = Vec::new();
        rest = after;
        loop {
            match rest {
                [b'"', after @ ..] => {
                    rest = after.strip_prefix(b" ").unwrap_or(after);
                    break;
                }
                [b'\\', b'x', high, low, after @ ..] => {
                    let digits = [*high, *low];
                    word.push(u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?);
                    rest = after;
                }
                [b'\\', byte @ (b'"' | b'\\'), after @ ..] | [byte, after @ ..] => {
                    word.push(*byte);
                    rest = after;
                }
                [] => bail!("a word has no end"),
            }
        }
        words.push(word);
    }
    Ok(words)
}

/// Replaces a text in every word by another one of the same length.
pub fn replace(lines: &mut [Line], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len(), "lengths stand in the bytes before");
    for word in lines.iter_mut().flatten() {
        let mut at = 0;
        while let Some(window) = word.get_mut(at..at + old.len()) {
            if window == old {
                window.copy_from_slice(new);
            }
            at += 1;
        }
    }
}

/// A bare connection to Redis: a data set is written and read without Drumline.
#[derive(Debug)]
pub struct Redis {
    stream: BufReader<TcpStream>,
}

/// An answer of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status or a number.
    Word(String),
    /// Bytes; `None` for no value.
    Bytes(Option<Vec<u8>>),
    /// Several answers.
    Array(Vec<Self>),
}

impl Redis {
    /// Connects to an address, as `127.0.0.1:6379`.
    ///
    /// # Errors
    /// When there is no server.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = BufReader::new(TcpStream::connect(address).await?);
        Ok(Self { stream })
    }

    /// Executes a command.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn call(&mut self, words: &[Vec<u8>]) -> Result<Answer> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).into_bytes());
            request.extend(word);
            request.extend(b"\r\n");
        }
        self.stream.write_all(&request).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let (kind, rest) = line.trim_end().split_at_checked(1).context("an answer")?;
        Ok(match kind {
            "+" | ":" => Answer::Word(rest.to_owned()),
            "$" if rest == "-1" => Answer::Bytes(None),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>()? + 2];
                self.stream.read_exact(&mut bytes).await?;
                bytes.truncate(bytes.len() - 2);
                Answer::Bytes(Some(bytes))
            }
            "*" => {
                let mut answers = Vec::new();
                for _ in 0..rest.parse::<usize>()? {
                    answers.push(Box::pin(self.answer()).await?);
                }
                Answer::Array(answers)
            }
            _ => bail!("Redis answers {line:?}"),
        })
    }

    async fn list(&mut self, words: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let words: Line = words.iter().map(|word| word.to_vec()).collect();
        match self.call(&words).await? {
            Answer::Array(answers) => answers
                .into_iter()
                .map(|answer| match answer {
                    Answer::Bytes(Some(bytes)) => Ok(bytes),
                    other => bail!("bytes, not {other:?}"),
                })
                .collect(),
            Answer::Bytes(Some(bytes)) => Ok(vec![bytes]),
            Answer::Word(word) => Ok(vec![word.into_bytes()]),
            Answer::Bytes(None) => Ok(Vec::new()),
        }
    }

    /// The commands that make all keys with this prefix, in order of the keys.
    ///
    /// # Errors
    /// When a key is of a type that this does not know.
    pub async fn commands(&mut self, prefix: &str) -> Result<Vec<Line>> {
        let pattern = format!("{prefix}*");
        let mut keys = self.list(&[b"KEYS", pattern.as_bytes()]).await?;
        keys.sort();
        let mut lines = Vec::new();
        for key in keys {
            let kind = self.list(&[b"TYPE", &key]).await?.concat();
            let (write, mut values): (&[u8], _) = match kind.as_slice() {
                b"string" => (b"SET", self.list(&[b"GET", &key]).await?),
                b"hash" => (b"HSET", self.list(&[b"HGETALL", &key]).await?),
                b"list" => (b"RPUSH", self.list(&[b"LRANGE", &key, b"0", b"-1"]).await?),
                b"set" => (b"SADD", self.list(&[b"SMEMBERS", &key]).await?),
                b"zset" => {
                    let range = [b"ZRANGE", key.as_slice(), b"0", b"-1", b"WITHSCORES"];
                    (b"ZADD", self.list(&range).await?)
                }
                other => bail!("a key of type {:?}", String::from_utf8_lossy(other)),
            };
            if kind == b"zset" {
                // The answer has the score behind the member, the command before.
                for pair in values.chunks_exact_mut(2) {
                    pair.reverse();
                }
            }
            let mut line = vec![write.to_vec(), key.clone()];
            line.append(&mut values);
            lines.push(line);
            let left = self.list(&[b"PTTL", &key]).await?.concat();
            if !left.starts_with(b"-") {
                lines.push(vec![b"PEXPIRE".to_vec(), key, left]);
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_as_it_is_written() {
        let all: Vec<u8> = (0..=255).collect();
        let lines = vec![
            vec![b"SET".to_vec(), all, Vec::new()],
            vec![b"\"\\x00 \\".to_vec()],
        ];
        let text = to_text(&lines);
        assert!(text.is_ascii());
        let with_remark = format!("# for people\n{text}");
        assert_eq!(from_text(&with_remark).unwrap(), lines);
        assert!(from_text("\"no end").is_err());
        assert!(from_text("SET").is_err());
    }
}
