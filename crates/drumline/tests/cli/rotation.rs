//! A key is rotated while its owner goes on asking: no request is refused.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::keys::raw;
use crate::run::{Process, drumline, end, folder};
use crate::servers::Place;

/// Between two requests of a producer.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest time that a request may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A program that creates operations, with the key that it has at that moment.
struct Producer {
    key: Arc<Mutex<String>>,
    stop: mpsc::Sender<()>,
    answered: mpsc::Receiver<()>,
    thread: thread::JoinHandle<Vec<String>>,
}

impl Producer {
    fn start(url: &str, key: &str) -> Self {
        let url = url.to_owned();
        let key = Arc::new(Mutex::new(key.to_owned()));
        let (stop, stopped) = mpsc::channel();
        let (tell, answered) = mpsc::channel();
        let own = Arc::clone(&key);
        let thread = thread::spawn(move || {
            let mut refused = Vec::new();
            loop {
                let key = own.lock().expect("not poisoned").clone();
                let answer = create(&url, &key);
                if !answer.starts_with("HTTP/1.1 201") {
                    refused.push(answer);
                }
                // The test may be over.
                let _over = tell.send(());
                if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
                    return refused;
                }
            }
        });
        Self {
            key,
            stop,
            answered,
            thread,
        }
    }

    /// Waits until it has asked some more times.
    fn goes_on(&self) {
        while self.answered.try_recv().is_ok() {}
        for _ in 0..20 {
            self.answered.recv_timeout(LIMIT).expect("it goes on");
        }
    }
}

fn create(url: &str, key: &str) -> String {
    let body = r#"{"messageName":"Echo"}"#;
    raw(
        url,
        &format!(
            "POST /v1/operations HTTP/1.1\r\nhost: ADDRESS\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

/// Waits until every manager knows a key, or none does.
fn until(urls: &[String], key: &str, is_known: bool) {
    for url in urls {
        let known = (0..600).any(|_| {
            let who = end(drumline()
                .arg("whoami")
                .env("DRUMLINE_SERVER", url)
                .env("DRUMLINE_API_KEY", key));
            if is_known {
                who.code == 0
            } else {
                who.err.contains("Unauthenticated")
            }
        });
        assert!(known, "{url} has not read the file");
    }
}

#[tokio::test]
async fn a_key_is_rotated_under_load_without_a_refusal() {
    let place = Place::new("rotation").await;
    let auth = folder().join("auth.toml").display().to_string();
    let key = |arguments: &[&str]| {
        let mut command = drumline();
        command.args(["key", "--auth-file", &auth]).args(arguments);
        let ended = end(&mut command);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.out.trim().to_owned()
    };
    let producer = ["--org", "contoso", "--role", "producer", "--caller", "jo"];
    let old = key(&[&["create"], &producer[..]].concat());
    let managers = [(), ()].map(|()| {
        let flags = [
            "queue-manager",
            "--listen=127.0.0.1:0",
            // Both programs are one caller, which asks for as long as the managers need.
            "--protect-requests=0",
            "--auth-file",
            &auth,
        ];
        Process::start(&mut place.command(&flags))
    });
    let urls = managers.each_ref().map(Process::url);
    let producers = urls.each_ref().map(|url| Producer::start(url, &old));
    let all_go_on = || producers.iter().for_each(Producer::goes_on);
    all_go_on();

    // As the runbook says: both managers know the second secret before a program has it.
    // The first one ends when no program has it any more.
    let id = old.get(4..12).expect("an id").to_owned();
    let new = key(&["rotate", &id]);
    assert_ne!(old, new);
    until(&urls, &new, true);
    all_go_on();
    for producer in &producers {
        producer.key.lock().expect("not poisoned").clone_from(&new);
    }
    all_go_on();
    key(&["rotate", &id, "--finish"]);
    until(&urls, &old, false);
    all_go_on();

    for producer in producers {
        producer.stop.send(()).expect("it lives");
        let refused = producer.thread.join().expect("it ends");
        assert!(refused.is_empty(), "{}: {refused:?}", refused.len());
    }
    for manager in managers {
        assert_eq!(manager.terminate(), 0);
    }
}
