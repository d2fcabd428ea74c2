//! A fleet in the middle of an upgrade. A later release has added fields to
//! headers, bodies, reports and offers. What it wrote goes through managers and
//! workers of this release, and still has these fields at its end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use drumline_backend::store::{Filter, Guard};
use drumline_backend::{Broker as _, Build, Member, Profile, Role, Store as _};
use drumline_protocol::extensions::Field;
use drumline_protocol::message::{Message, Offer};
use drumline_protocol::operation::series_header;
use drumline_protocol::version::CURRENT;
use drumline_protocol::{
    Body, Event, Extensions, FormatVersion, Formats, OperationId, Progress, Recurrence, Report,
    RetryPolicy, Rules, Timestamp,
};
use drumline_tests::fleet::{Fleet, Size};
use drumline_tests::ports::Ports;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::running::{SMALL, until, until_status};

/// The formats of the later release.
const LATER: Formats = Formats {
    store: next(CURRENT.store),
    wire: next(CURRENT.wire),
};
/// The fields that it has added.
const OF_HEADER: Field<String> = Field::new(1_000, LATER.store);
const OF_BODY: Field<String> = Field::new(1_000, LATER.store);
const OF_REPORT: Field<String> = Field::new(1, LATER.store);
const OF_OFFER: Field<String> = Field::new(1, LATER.wire);

const WAIT: Duration = Duration::from_secs(90);
/// Workers whose lease is longer than a busy machine stands still: only those that are killed are
/// lost.
const SIZE: Size = Size {
    lease: Duration::from_secs(6),
    ..SMALL
};

const fn next(format: FormatVersion) -> FormatVersion {
    FormatVersion::new(format.major, format.minor + 1)
}

/// The later release. It writes its fields at once, although not every member
/// reads them: the worst that a fleet can meet.
struct Later(Ports);

impl Later {
    async fn connect(fleet: &Fleet) -> Result<Self> {
        let ports = Ports::connect(&fleet.redis.url(), &fleet.rabbit.url()).await?;
        let later = Self(ports);
        later.beat().await?;
        Ok(later)
    }

    async fn beat(&self) -> Result<()> {
        let member = Member {
            id: self.0.member,
            host: "later".to_owned(),
            running: 0,
            started_on_ms: 0,
            profile: Profile {
                build: Build {
                    formats: Some(LATER),
                    release: "99.0.0".to_owned(),
                },
                ..Profile::new(Role::Manager)
            },
        };
        self.0.membership.beat(&member).await?;
        self.0.store.note_minor(LATER.store.minor).await?;
        Ok(())
    }

    /// Beats for ever.
    async fn beats(&self) -> Result<()> {
        loop {
            self.beat().await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// A step that runs for so long, and fails so often before it succeeds.
    fn body(&self, ms: u64, retries: u32) -> Result<Body> {
        let data = json!({"token": 0, "index": 0, "ms": ms, "retries": retries});
        Ok(Body {
            data: Some(data.to_string()),
            extensions: field(&OF_BODY, "of the body")?,
            ..Body::new("Step", Timestamp::from_millis(0))
        })
    }

    /// Creates such a step; the relay offers it.
    async fn step(&self, ms: u64, retries: u32, most: u32) -> Result<OperationId> {
        let retry = RetryPolicy {
            max_retries: most,
            initial_ms: 100,
            ..RetryPolicy::default()
        };
        let rules = Rules {
            retry,
            ..Rules::default()
        };
        let mut new = self.0.prepare(rules, self.body(ms, retries)?);
        new.header.extensions = field(&OF_HEADER, "of the header")?;
        let id = new.id;
        self.0.create(new).await?;
        Ok(id)
    }

    /// Checks that an operation still has the later release's fields.
    async fn check(&self, name: &str, id: OperationId) -> Result<Extensions> {
        let operation = self.0.get(id).await?;
        let header = operation.header.extensions.get(&OF_HEADER)?;
        ensure!(header.as_deref() == Some("of the header"), "{name}: header");
        let body = operation.body.extensions.get(&OF_BODY)?;
        ensure!(body.as_deref() == Some("of the body"), "{name}: body");
        Ok(operation.report.extensions)
    }
}

fn field(field: &Field<String>, value: &str) -> Result<Extensions> {
    let mut extensions = Extensions::default();
    let format = FormatVersion::new(LATER.store.major, LATER.store.minor);
    ensure!(extensions.set(field, &value.to_owned(), format)?);
    Ok(extensions)
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_later_release_outlive_what_this_release_does() -> Result<()> {
    let mut fleet = Fleet::start("mixed", SIZE).await?;
    let api = fleet.api(0);
    let later = Later::connect(&fleet).await?;

    // Claimed, tried again, completed; and failed for good, with a fault.
    let retried = later.step(0, 1, 10).await?;
    let failed = later.step(0, 100, 1).await?;
    let done = api.wait(&retried.to_string(), WAIT).await?;
    ensure!(
        done["statusCode"] == 30 && done["startCount"] == 2,
        "{done}"
    );
    let done = api.wait(&failed.to_string(), WAIT).await?;
    ensure!(done["statusCode"] == 31, "{done}");

    // Paused while it runs, postponed, resumed; and cancelled.
    let paused = later.step(60_000, 0, 10).await?;
    let id = paused.to_string();
    until_status(&api, &id, 20).await?;
    act(&api, &id, "pause", &Value::Null).await?;
    until_status(&api, &id, 10).await?;
    let until_then = json!({"postponeUntil": "2099-01-01T00:00:00Z"});
    act(&api, &id, "postpone", &until_then).await?;
    act(&api, &id, "resume", &Value::Null).await?;
    until_status(&api, &id, 20).await?;
    act(&api, &id, "cancel", &Value::Null).await?;
    let done = api.wait(&id, WAIT).await?;
    ensure!(done["statusCode"] == 32, "{done}");

    // Run by a worker of the later release first, which reports and drains.
    let new = {
        let mut new = later.0.prepare(Rules::default(), later.body(0, 0)?);
        new.header.extensions = field(&OF_HEADER, "of the header")?;
        new
    };
    let reported = new.id;
    let stamp = later.0.create(new).await?.context("an offer")?;
    later
        .0
        .store
        .remove_from_outbox(&[(reported, stamp)])
        .await?;
    let holding = later.0.claim(reported, WAIT).await?;
    let report = Report {
        progress: Some(Progress {
            percent: 40,
            text: "by the later release".to_owned(),
        }),
        extensions: field(&OF_REPORT, "of the report")?,
        ..Report::default()
    };
    let holder = Guard::Holder(holding);
    let released = later
        .0
        .change(reported, Event::Release, holder, Some(report));
    released.await?;
    let done = api.wait(&reported.to_string(), WAIT).await?;
    ensure!(
        done["statusCode"] == 30 && done["startCount"] == 2,
        "{done}"
    );

    // Offered by the later release alone.
    let new = later.0.prepare(Rules::default(), later.body(0, 0)?);
    let offered = new.id;
    let stamp = later.0.create(new).await?.context("an offer")?;
    later
        .0
        .store
        .remove_from_outbox(&[(offered, stamp)])
        .await?;
    let offer = Offer {
        extensions: field(&OF_OFFER, "of the offer")?,
        ..Offer::of(&later.0.get(offered).await?)
    };
    let message = (offer.route(), Message::Offers(vec![offer]));
    for answer in later.0.broker.publish(&[message]).await {
        answer?;
    }
    let done = api.wait(&offered.to_string(), WAIT).await?;
    ensure!(done["statusCode"] == 30, "{done}");

    // Its worker is killed, and another one of this release takes it over.
    let lost = later.step(10_000, 0, 10).await?;
    let id = lost.to_string();
    until_status(&api, &id, 20).await?;
    for worker in fleet.workers.drain(..) {
        worker.signal(Signal::KILL)?;
    }
    fleet.add_worker()?;
    let done = api.wait(&id, WAIT * 2).await?;
    ensure!(done["statusCode"] == 30 && done["lostCount"] == 1, "{done}");

    for (name, id) in [
        ("retried", retried),
        ("failed", failed),
        ("paused", paused),
        ("lost", lost),
    ] {
        later.check(name, id).await?;
    }
    let report = later.check("reported", reported).await?.get(&OF_REPORT)?;
    ensure!(report.as_deref() == Some("of the report"), "{report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_occurrence_has_the_later_fields_of_its_series_and_members_are_told_apart() -> Result<()>
{
    let fleet = Fleet::start("mixed-series", SIZE).await?;
    let api = fleet.api(0);
    let later = Later::connect(&fleet).await?;
    let mut series = later.0.prepare(Rules::default(), later.body(0, 0)?);
    let now = series.body.created_on;
    // The times of a rule are whole seconds.
    let start = Timestamp::from_millis(now.as_millis() / 1_000 * 1_000);
    let recurrence = Recurrence {
        pattern: "FREQ=DAILY;COUNT=1".to_owned(),
        start,
        last: None,
    };
    let commit = later.0.ids.commit();
    series.header = series_header(Rules::default(), recurrence, Some(start), commit, now);
    series.header.extensions = field(&OF_HEADER, "of the header")?;
    let id = series.id;
    later.0.create(series).await?;
    let over = until(&api, &id.to_string(), |series| series["stateCode"] == 3).await?;
    ensure!(over["statusCode"] == 30, "{over}");
    later.check("series", id).await?;
    let filter = Filter {
        parent_id: Some(id.to_string().parse()?),
        ..Filter::default()
    };
    let page = later.0.store.list(&filter, None, 2).await?;
    let [occurrence] = page.operations.as_slice() else {
        anyhow::bail!("{} occurrences", page.operations.len());
    };
    let body = occurrence.body.extensions.get(&OF_BODY)?;
    ensure!(body.as_deref() == Some("of the body"), "{occurrence:?}");

    // The members, as an operator sees them.
    later.beat().await?;
    let members = api.read("/v1/workers").await?;
    let managers = members["managers"].as_array().context("managers")?;
    let releases: Vec<&str> = managers
        .iter()
        .filter_map(|manager| manager["release"].as_str())
        .collect();
    ensure!(
        releases.len() == 2 && releases.contains(&"99.0.0"),
        "{members}"
    );
    ensure!(
        members["workers"][0]["storeFormat"] == CURRENT.store.to_string(),
        "{members}"
    );
    let mut doctor = fleet.command("drumline");
    // A member that has not beaten for ten seconds is none, and a busy machine may need longer
    // for the start of a program.
    let doctor = tokio::select! {
        told = doctor.arg("doctor").kill_on_drop(true).output() => told?,
        ended = later.beats() => return ended,
    };
    let text = String::from_utf8_lossy(&doctor.stdout);
    ensure!(text.contains("2 releases: "), "{text}");
    ensure!(text.contains("99.0.0 (1)"), "{text}");
    Ok(())
}

async fn act(api: &drumline_tests::api::Api, id: &str, action: &str, body: &Value) -> Result<()> {
    let (status, answer) = api.act(id, action, body).await?;
    ensure!(status < 300, "{action}: {status} {answer}");
    Ok(())
}
