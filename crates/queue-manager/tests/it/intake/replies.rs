//! The answer to each kind of request over AMQP, to the letter.
//!
//! The answers are those of HTTP, and producers read them by programs. The file
//! replies.txt holds them: status, content type, body, and the code under which
//! the request is quarantined. Ids and times in it are masked, because they differ
//! from run to run.

mod cases;

use std::fmt::Write as _;
use std::sync::Arc;

use drumline_backend::intake::{Envelope, Refused, Reply};
use drumline_backend::{Backend, Ids};
use drumline_queue_manager::options::Protection;
use drumline_queue_manager::{AmqpIngress, Options, QueueManager};
use serde_json::Value;

use crate::support::post::Post;
use crate::support::{backend, manager, until};

/// The table of answers that is being written.
struct Table {
    post: Post,
    _reception: AmqpIngress,
    text: String,
}

impl Table {
    fn over(manager: &QueueManager) -> Self {
        let post = Post::default();
        Self {
            _reception: AmqpIngress::start(manager, Arc::new(post.clone())),
            post,
            text: String::new(),
        }
    }

    /// Sends a request and notes its answer.
    async fn case(&mut self, name: &str, envelope: Envelope, payload: impl Into<Vec<u8>>) -> Reply {
        let before = (self.post.replies().len(), self.post.refused().len());
        self.post.publish(envelope, payload);
        until(name, async || self.post.waiting() == 0).await;
        let replies = self.post.replies();
        assert_eq!(replies.len(), before.0 + 1, "{name}: one answer");
        let reply = replies.into_iter().next_back().expect("an answer");
        let refused = self.post.refused().into_iter().nth(before.1);
        self.note(name, &reply, refused.as_ref());
        reply
    }

    fn note(&mut self, name: &str, reply: &Reply, refused: Option<&Refused>) {
        let body = String::from_utf8(reply.payload.clone()).expect("UTF-8");
        let Reply {
            status,
            content_type,
            ..
        } = reply;
        let aside = refused.map_or("-", |refused| refused.code.as_str());
        if let Some(refused) = refused {
            let answer: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(answer["detail"], refused.reason, "{name}");
        }
        writeln!(
            self.text,
            "# {name}\n{status} {content_type}, quarantined: {aside}\n{}\n",
            masked(&body)
        )
        .expect("a string takes everything");
    }
}

/// A text with `<id>` for each UUID and `<time>` for each RFC 3339 time.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let word = rest
            .split(|letter: char| !(letter.is_ascii_alphanumeric() || "-:.".contains(letter)))
            .next()
            .unwrap_or_default();
        let is_id = word.len() == 36 && word.matches('-').count() == 4;
        let is_time = word.ends_with('Z') && word.matches(':').count() == 2;
        let taken = if is_id {
            masked.push_str("<id>");
            word.len()
        } else if is_time {
            masked.push_str("<time>");
            word.len()
        } else if word.is_empty() {
            masked.push(letter);
            letter.len_utf8()
        } else {
            masked.push_str(word);
            word.len()
        };
        rest = &rest[taken..];
    }
    masked
}

/// A manager that admits one request of a caller in a long while.
fn strict(backend: &Backend) -> QueueManager {
    let mut options = Options::default();
    options.admission.protection = Protection {
        requests: 1,
        ..Protection::default()
    };
    QueueManager::new(backend.clone(), Ids::random(), options)
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_what_it_has_always_been() {
    let backend = backend();
    let manager = manager(&backend);
    let mut table = Table::over(&manager);
    cases::messages_that_are_no_request(&mut table).await;
    cases::creates(&mut table).await;
    cases::creates_in_bincode(&mut table).await;
    cases::headers(&mut table).await;
    cases::keys(&mut table).await;
    cases::executes(&mut table).await;
    cases::limits(&mut table, &manager).await;
    let mut text = table.text;
    let mut table = Table::over(&strict(&backend));
    cases::callers(&mut table).await;
    text.push_str(&table.text);
    // Requests over AMQP count among those over HTTP.
    let metrics = manager.metrics().text();
    let mut lines: Vec<&str> = metrics.lines().collect();
    lines.retain(|line| line.starts_with("drumline_http_requests_total{"));
    lines.sort_unstable();
    text.push_str(&lines.join("\n"));
    text.push('\n');
    let committed = include_str!("replies.txt");
    if text != committed {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("replies.txt");
        std::fs::write(&path, text).expect("a file for the new table");
        panic!("other answers than before: compare {}", path.display());
    }
}
