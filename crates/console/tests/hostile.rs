//! Hostile texts in every place of every page.

use std::time::Duration;

use drumline_console::{
    ActionPage, AttemptLine, AuditFilter, AuditRow, AuditSheet, Badge, Block, BulkPage, Cell,
    Chain, Chart, ConfirmPage, Counted, Counts, DrainPage, FailureLine, Filter, Finding, Frame,
    Known, LastHour, LiftPage, LoginPage, Member, Members, Moment, MuteForm, MuteLine, MutePage,
    NoticePage, NowPage, OperationPage, OperationsPage, Outcome, PauseForm, PauseLine, PausesPage,
    Rights, Root, Row, RunAgainPage, Search, Section, Sheet, SheetPage, Template, Text, Timeline,
    View, Viewer, Waiting, page,
};
use drumline_protocol::history::Entry;
use drumline_protocol::transition::EventKind;
use drumline_protocol::{
    Action, ActionId, ActionStage, Attempt, Author, Body, BulkAction, BulkChange, BulkCounts,
    BulkKind, BulkRefusal, CommitId, DependencyToken, ErrorCode, Extensions, Fault, Fence, History,
    Operation, OperationId, Organization, Output, Partition, Progress, Report, Rules, Status,
    Timestamp, operation::first_header,
};
use uuid::Uuid;

/// Ends every kind of element and attribute, and turns the direction of writing.
const HOSTILE: &str =
    "\"'><script>alert(1)</script></pre></textarea></title><img src=x onerror=y>\u{202e}&amp;";

fn now() -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000)
}

fn frame() -> Frame {
    Frame {
        title: HOSTILE.into(),
        section: Section::Now,
        viewer: Some(Viewer {
            caller: HOSTILE.into(),
            organization: HOSTILE.into(),
            is_signed_in: true,
            rights: Rights::ALL,
        }),
        now: now(),
    }
}

fn operation(status: Status) -> Operation {
    let mut body = Body::new(HOSTILE, now());
    body.name = HOSTILE.to_owned();
    body.owner = HOSTILE.to_owned();
    body.dependency_token =
        Some(DependencyToken::try_from(HOSTILE.to_owned()).expect("short enough"));
    body.primary_entity_type = Some(HOSTILE.to_owned());
    body.regarding_object_id = Some(Uuid::nil());
    body.parent_id = Some(Uuid::nil());
    body.data = Some(HOSTILE.to_owned());
    body.trace.traceparent = format!("00-{HOSTILE}-0");
    let commit = CommitId(1);
    let mut header = first_header(Rules::default(), None, commit, now());
    header.status = status;
    header.starts = 1;
    header.host_id = Some(HOSTILE.to_owned());
    header.started_on = Some(now());
    Operation {
        id: OperationId::new(now(), Partition::new(1), [7; 16]),
        header,
        body,
        report: Report {
            progress: Some(Progress {
                percent: 200,
                text: HOSTILE.to_owned(),
            }),
            checkpoint: Some(HOSTILE.to_owned()),
            result: Some(HOSTILE.to_owned()),
            fault: Some(Fault::new(ErrorCode::WORKER_LOST, HOSTILE, HOSTILE)),
            ..Report::default()
        },
        sequence: 1,
    }
}

fn row() -> Row {
    let operation = operation(Status::Failed);
    Row::of(operation.id, &operation.header, &operation.body, now())
}

fn history() -> History {
    let entry = |author| Entry {
        version: 9,
        at: now(),
        event: EventKind::Fail,
        from: Status::InProgress,
        status: Status::Failed,
        attempt: 1,
        author,
        until: Some(now()),
        code: Some(ErrorCode::WORKER_LOST),
        reason: Some(HOSTILE.to_owned()),
    };
    let hostile = || HOSTILE.to_owned();
    History {
        entries: vec![
            entry(Author::Caller(hostile())),
            entry(Author::Worker(hostile())),
            entry(Author::Manager(hostile())),
        ],
        omitted: 6,
    }
}

/// A text that the caller has typed: it stays as it is in its field.
fn typed() -> String {
    HOSTILE.replace('\u{202e}', "")
}

/// Writes a page, and checks that no hostile text has come through.
fn check(name: &str, written: &impl Template) -> String {
    let html = page(written);
    assert!(html.starts_with("<!doctype html>"), "{name}: {html}");
    assert!(html.trim_end().ends_with("</html>"), "{name}: {html}");
    let scripts = html.matches("<script").count();
    assert_eq!(scripts, 1, "{name}: the page's own script alone: {html}");
    for bad in [
        "<img",
        "</title><",
        "alert(1)<",
        "</textarea>",
        "\u{202e}",
        "style=",
    ] {
        assert!(!html.contains(bad), "{name}: {bad}: {html}");
    }
    // The only place where the quote of an attribute could have ended it.
    assert!(!html.contains("\"'>"), "{name}: {html}");
    assert_eq!(html.matches("<h1").count(), 1, "{name}");
    html
}

fn attempts() -> Vec<Attempt> {
    vec![Attempt {
        number: 1,
        started: Some(now()),
        ended: Some(now()),
        host: Some(HOSTILE.to_owned()),
        end: Some(EventKind::Fail),
        code: Some(ErrorCode::WORKER_LOST),
        reason: Some(HOSTILE.to_owned()),
        output: Some(Output {
            attempt: 1,
            cut: 1,
            text: HOSTILE.to_owned(),
        }),
        ..Attempt::default()
    }]
}

#[test]
fn no_text_from_outside_is_markup_on_any_page() {
    let waiting = Waiting {
        detail: format!("held by {HOSTILE}; {HOSTILE}"),
        on: None,
        lift: Some("/pauses/1/lift".to_owned()),
    };
    for status in Status::ALL {
        let operation = operation(status);
        for waiting in [None, Some(&waiting)] {
            let mut page = OperationPage::of(frame(), &operation, waiting);
            page.done = Some(HOSTILE.into());
            page.root = Some(Root {
                id: operation.id.to_string(),
                name: HOSTILE.into(),
                status: Badge(status),
            });
            page.timeline = Timeline::of(&history(), now());
            page.attempts = AttemptLine::all(&attempts(), now());
            page.chain = Some(Chain {
                token: HOSTILE.into(),
                address: "/operations".to_owned(),
                before: 1,
                behind: 2,
                neighbours: vec![row(), row()],
            });
            let html = check(status.name(), &page);
            assert!(html.contains("&#60;script&#62;"), "{html}");
        }
    }
    let pairs = ["messageName", "state", HOSTILE].map(|name| (name.to_owned(), typed()));
    let mut known = Known::default();
    for name in ["messageName", "messageName", "queue"] {
        known.add(name, &typed());
        known.add(name, HOSTILE);
    }
    let grid = OperationsPage {
        known,
        frame: frame(),
        filter: Filter {
            pairs: pairs.to_vec(),
        },
        mistakes: Vec::new(),
        done: Some(HOSTILE.into()),
        rows: vec![row()],
        is_later_page: true,
        next: Some(HOSTILE.to_owned()),
        looked_back_to: None,
    };
    let html = check("operations", &grid);
    assert_eq!(
        html.matches("<option value=\"&#34;").count(),
        2,
        "each once, and none that cannot be shown"
    );
    let refused = OperationsPage {
        mistakes: vec![(HOSTILE.into(), HOSTILE.into())],
        ..grid
    };
    check("a filter with mistakes", &refused);
    let notice = NoticePage {
        frame: frame(),
        sentences: vec![HOSTILE.into()],
        mistakes: vec![(HOSTILE.into(), HOSTILE.into())],
        code: Some(HOSTILE.into()),
        links: Vec::new(),
    };
    check("notice", &notice);
}

fn failing(moment: Moment) -> FailureLine {
    FailureLine {
        id: "8000000000000001".to_owned(),
        message_name: HOSTILE.into(),
        code: HOSTILE.into(),
        pattern: HOSTILE.into(),
        count: HOSTILE.into(),
        chart: Chart {
            title: "Failures",
            summary: HOSTILE.into(),
            class: "bad",
            values: vec![0, 1],
        },
        last: moment,
        sample: "/operations/x".to_owned(),
    }
}

#[test]
fn no_text_from_outside_is_markup_on_the_page_of_a_mute() {
    let moment = Moment {
        at: now(),
        now: now(),
    };
    let mute = MutePage {
        frame: frame(),
        group: failing(moment),
        mute: Some(MuteLine {
            author: HOSTILE.into(),
            reason: HOSTILE.into(),
            since: moment,
            until: moment,
        }),
        form: MuteForm {
            reason: typed(),
            until: typed(),
            mistakes: vec![(HOSTILE.into(), HOSTILE.into())],
        },
    };
    check("mute", &mute);
}

#[test]
fn no_text_from_outside_is_markup_on_the_first_page() {
    let moment = Moment {
        at: now(),
        now: now(),
    };
    let finding = Finding {
        sentence: HOSTILE.into(),
        remedy: Some(HOSTILE.into()),
        link: Some(("failures", "/operations".to_owned())),
    };
    let first = NowPage {
        frame: frame(),
        findings: vec![finding; 2],
        counts: Some(Counts::default()),
        hour: Some(LastHour {
            total: Counted::default(),
            parts: vec![(now(), Counted::default())],
        }),
        members: Some(Members {
            workers: 1,
            shown: vec![Member {
                host: HOSTILE.into(),
                role: "worker",
                places: Some((1, 2)),
                queues: HOSTILE.into(),
                release: HOSTILE.into(),
                started: moment,
                is_draining: true,
            }],
            ..Members::default()
        }),
        pauses: vec![PauseLine {
            id: "8000000000000001".to_owned(),
            kind: "organization",
            address: Some("/operations".to_owned()),
            value: HOSTILE.into(),
            reason: HOSTILE.into(),
            author: HOSTILE.into(),
            since: moment,
            until: Some(moment),
            is_everything: true,
            is_freeze: true,
        }],
        holding: vec![row()],
        failures: vec![row()],
        failing: vec![failing(moment)],
    };
    check("now", &first);
}

#[test]
fn no_text_from_outside_is_markup_in_an_action() {
    let id = operation(Status::Failed).id;
    let by = || Author::Caller(HOSTILE.to_owned());
    for stage in [
        ActionStage::Running,
        ActionStage::Aborted,
        ActionStage::Failed(HOSTILE.to_owned()),
    ] {
        let action = BulkAction {
            id: ActionId::new(id),
            organization: Organization::default(),
            change: BulkChange::Postpone(now()),
            conditions: vec![(HOSTILE.to_owned(), HOSTILE.to_owned())],
            reason: HOSTILE.to_owned(),
            author: by(),
            started_on: now(),
            expected: None,
            ended_on: (stage != ActionStage::Running).then(now),
            stage,
            aborted_by: Some(by()),
            below: id,
            counts: BulkCounts {
                counted: 1,
                done: 0,
                refused: 1,
                refusals: vec![BulkRefusal {
                    id,
                    code: ErrorCode::CANNOT_PAUSE,
                    message: HOSTILE.to_owned(),
                }],
            },
            executor: None,
            last_fence: Fence(1),
            revision: 3,
            extensions: Extensions::default(),
        };
        check("action", &ActionPage::of(frame(), &action, now()));
    }
}

#[test]
fn no_text_from_outside_is_markup_in_a_form() {
    let pairs = [("messageName".to_owned(), typed())];
    let operation = operation(Status::InProgress);
    for action in Action::ALL {
        let ask = ConfirmPage {
            frame: frame(),
            id: operation.id.to_string(),
            subject: HOSTILE.into(),
            status: Badge(Status::InProgress),
            action,
            effects: vec![HOSTILE.into()],
            is_impossible: false,
            until: typed(),
            mistake: Some(HOSTILE.into()),
        };
        let again = RunAgainPage {
            frame: frame(),
            id: operation.id.to_string(),
            subject: HOSTILE.into(),
            status: Badge(Status::Failed),
            token: Some(HOSTILE.into()),
            is_holding: true,
            is_impossible: false,
            asked: typed(),
        };
        check("run again", &again);
        check(action.name(), &ask);
        for (kind, has_more) in [
            (BulkKind::Act(action), true),
            (BulkKind::Act(action), false),
            (BulkKind::RunAgain, false),
        ] {
            let many = BulkPage {
                frame: frame(),
                kind,
                filter: Filter {
                    pairs: pairs.to_vec(),
                },
                outcome: Outcome {
                    matched: 1000,
                    done: 990,
                    refused: 10,
                    refusals: vec![(typed(), HOSTILE.into(), HOSTILE.into())],
                    has_more,
                },
                consequence: HOSTILE.into(),
                reason: typed(),
                until: typed(),
                mistake: Some(HOSTILE.into()),
            };
            check("many", &many);
        }
    }
    let moment = Moment {
        at: now(),
        now: now(),
    };
    let pause = PauseLine {
        id: "8000000000000001".to_owned(),
        kind: "token",
        value: HOSTILE.into(),
        address: None,
        reason: HOSTILE.into(),
        author: HOSTILE.into(),
        since: moment,
        until: None,
        is_everything: false,
        is_freeze: false,
    };
    for is_draining in [false, true] {
        let drain = DrainPage {
            frame: frame(),
            id: typed(),
            host: HOSTILE.into(),
            effects: vec![HOSTILE.into()],
            is_draining,
        };
        check("drain", &drain);
    }
    let lift = LiftPage {
        frame: frame(),
        pause: pause.clone(),
    };
    check("lift", &lift);
    for again in [false, true] {
        let login = LoginPage {
            by_issuer: true,
            onward: None,
            frame: frame(),
            reason: Some(HOSTILE.into()),
            next: typed(),
            organization: typed(),
            again,
        };
        check("login", &login);
    }
    let cell = || Cell::link(HOSTILE, "/operations").with_note(HOSTILE);
    let chart = Chart {
        title: "Failures",
        summary: HOSTILE.into(),
        class: "bad",
        values: vec![1],
    };
    let sheet = SheetPage {
        frame: frame(),
        lead: vec![HOSTILE.into()],
        search: Some(Search {
            address: "/tokens",
            label: "Token",
            name: "token",
            value: typed(),
        }),
        sheets: vec![Sheet {
            title: "Rows",
            intro: vec![HOSTILE.into()],
            columns: vec!["One", "Two"],
            rows: vec![
                vec![cell(), Cell::text(HOSTILE)],
                vec![Cell::chart(chart), Cell::actions(vec![("Pause", typed())])],
                vec![cell(), Cell::times(vec![(now(), HOSTILE.into())])],
            ],
            empty: "",
            orders: vec![View {
                label: "Longest first",
                address: typed(),
                is_here: true,
            }],
            links: vec![(HOSTILE.into(), "/".to_owned())],
            is_folded: false,
            class: "failures",
        }],
    };
    let html = check("sheet", &sheet);
    assert!(html.contains("data-label=\"Two\""), "{html}");
    let audit = AuditSheet {
        frame: frame(),
        filter: AuditFilter {
            pairs: vec![("who".to_owned(), typed())],
        },
        mistakes: Vec::new(),
        rows: vec![AuditRow {
            at: Some(moment),
            action: HOSTILE.into(),
            request: Some(HOSTILE.into()),
            caller: Some(HOSTILE.into()),
            principal: Some(HOSTILE.into()),
            organization: Some(HOSTILE.into()),
            outcome: HOSTILE.into(),
            reason: Some(HOSTILE.into()),
            ids: vec![(HOSTILE.into(), None)],
            filter: Some(HOSTILE.into()),
            count: Some(7),
            address: Some(HOSTILE.into()),
        }],
        is_of_all: true,
        is_later_page: true,
        next: Some(typed()),
    };
    check("audit", &audit);
    let mistaken = AuditSheet {
        mistakes: vec![(HOSTILE.into(), HOSTILE.into())],
        ..audit
    };
    check("audit", &mistaken);
    let pauses = PausesPage {
        frame: frame(),
        pauses: vec![pause],
        form: PauseForm {
            scope: typed(),
            name: typed(),
            reason: typed(),
            until: typed(),
            mistakes: vec![(HOSTILE.into(), HOSTILE.into())],
        },
    };
    check("pauses", &pauses);
}

#[test]
fn nothing_to_say_is_normal() {
    let quiet = NowPage {
        frame: frame(),
        findings: Vec::new(),
        counts: None,
        hour: None,
        members: None,
        pauses: Vec::new(),
        holding: Vec::new(),
        failures: Vec::new(),
        failing: Vec::new(),
    };
    assert!(page(&quiet).contains("Normal"));
}

#[test]
fn the_same_list_is_asked_for_elsewhere() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let filter = Filter {
        pairs: vec![
            pair("state", "Ready"),
            pair("dependencyToken", "it's; rm -rf /"),
            pair("holdsToken", "true"),
        ],
    };
    assert_eq!(
        filter.command().as_str(),
        r"drumline list --state Ready --token 'it'\''s; rm -rf /' --holds-token"
    );
    assert_eq!(
        filter.query(),
        "/v1/operations?state=Ready&dependencyToken=it%27s%3B%20rm%20-rf%20%2F&holdsToken=true"
    );
}

#[test]
fn large_content_is_cut_and_long_waits_are_words() {
    let mut operation = operation(Status::WaitingForResources);
    operation.body.data = Some("x".repeat(1 << 20));
    let html = page(&OperationPage::of(frame(), &operation, None));
    assert!(html.len() < 100 << 10, "{}", html.len());
    assert!(html.contains("1.0 MiB"), "{html}");
    assert_eq!(Block::of("Data", None), None);
    let later = now().saturating_add(Duration::from_secs(3 * 86_400));
    let row = Row::of(operation.id, &operation.header, &operation.body, later);
    assert_eq!(row.created.relative(), "3 d ago");
    assert_eq!(row.reason, Text::line("waits to start again"));
}
