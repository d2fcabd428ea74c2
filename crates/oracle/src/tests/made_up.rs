//! A made-up history in which every promise was put to the test, and kept.

use std::time::Duration;

use drumline_api::history::{ActorView, EntryView, HistoryView};

use crate::journal::{Alive, Call, Entry, Event, History, Line, Phase, SinkWrite};
use crate::{Blocked, Evidence, Final, Needs, Probe};

pub(super) const MS: u64 = 1_000_000;
const LEASE: Duration = Duration::from_millis(1_000);
/// Two operations in one partition. The last digits of an id are the operation's.
pub(super) const A: &str = "01a222a0-ff8d-749b-80b1-a4696baf000a";
pub(super) const B: &str = "01a222a0-ff8d-749b-80b1-a4696baf000b";
pub(super) const C: &str = "01a222a0-ff8d-749b-80b1-a4696baf000c";
pub(super) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

pub(super) fn run(
    event: Event,
    id: &str,
    index: usize,
    (pid, fence, attempt): (u32, u64, u32),
    ms: u64,
) -> Entry {
    Entry {
        event,
        id: id.to_owned(),
        token: 0,
        index,
        pid,
        fence,
        attempt,
        trace: TRACE.to_owned(),
        at_ns: ms * MS,
    }
}

pub(super) fn call(number: u64, action: &str, key: &str, phase: Phase, ms: u64) -> Line {
    Line::Call(Call {
        call: number,
        caller: "drill".to_owned(),
        action: action.to_owned(),
        key: key.to_owned(),
        phase,
        at_ns: ms * MS,
    })
}

fn created(number: u64, key: &str, id: &str) -> [Line; 2] {
    let ok = Phase::Ok { id: id.to_owned() };
    [
        call(number, "create", key, Phase::Invoke, number),
        call(number, "create", key, ok, number),
    ]
}

pub(super) fn write(number: u64, id: &str, index: usize, fence: u64, accepted: bool) -> Line {
    Line::Write(SinkWrite {
        number,
        token: 0,
        index,
        id: id.to_owned(),
        fence,
        accepted,
        at_ns: number,
    })
}

fn change(number: u64, event: &str, state: &str, status: &str, attempt: u32) -> EntryView {
    EntryView {
        number,
        at: String::new(),
        event: event.to_owned(),
        state: state.to_owned(),
        status: status.to_owned(),
        attempt,
        actor: ActorView {
            kind: "caller".to_owned(),
            name: "drill".to_owned(),
        },
        until: None,
        error_code: None,
        reason: None,
    }
}

fn changes(entries: &[(&str, &str, &str, u32)]) -> Option<HistoryView> {
    let numbers = 1..;
    let entries = numbers
        .zip(entries)
        .map(|(number, (event, state, status, attempt))| {
            change(number, event, state, status, *attempt)
        });
    Some(HistoryView {
        entries: entries.collect(),
        omitted: 0,
    })
}

pub(super) const CREATE: (&str, &str, &str, u32) = ("create", "Ready", "WaitingForResources", 0);
pub(super) const CLAIM: (&str, &str, &str, u32) = ("claim", "Locked", "InProgress", 1);
const SUCCEED: (&str, &str, &str, u32) = ("succeed", "Completed", "Succeeded", 1);

/// Operation A is started by process 1, which is stopped from 20 ms to 1,500 ms and loses it to
/// process 2, and writes on when it wakes. Operation B follows. Operation C, of another token,
/// is paused meanwhile, and cancelled at the end.
pub(super) fn good() -> Evidence {
    let mut lines = Vec::new();
    for ms in (0..20).chain(1_500..2_000).step_by(10) {
        lines.push(Line::Alive(Alive {
            pid: 1,
            at_ns: ms * MS,
        }));
    }
    for ms in (0..2_000).step_by(10) {
        lines.push(Line::Alive(Alive {
            pid: 2,
            at_ns: ms * MS,
        }));
    }
    let runs = [
        run(Event::Start, A, 0, (1, 1, 1), 10),
        run(Event::Start, A, 0, (2, 2, 2), 1_200),
        run(Event::Report, A, 0, (2, 2, 2), 1_300),
        run(Event::End, A, 0, (2, 2, 2), 1_300),
        run(Event::Start, B, 1, (2, 3, 1), 1_400),
        run(Event::End, A, 0, (1, 1, 1), 1_510),
        run(Event::Report, B, 1, (2, 3, 1), 1_600),
        run(Event::End, B, 1, (2, 3, 1), 1_600),
    ];
    lines.extend(runs.map(Line::Run));
    lines.extend(created(1, "a", A));
    lines.extend(created(2, "b", B));
    lines.extend(created(3, "c", C));
    lines.push(call(4, "pause", C, Phase::Invoke, 5));
    lines.push(call(4, "pause", C, Phase::Ok { id: C.to_owned() }, 6));
    lines.extend([
        write(1, A, 0, 1, true),
        write(2, A, 0, 2, true),
        write(3, B, 1, 3, true),
        write(4, A, 0, 1, false),
    ]);
    let final_of = |id: &str, key: &str, place| Final {
        id: id.to_owned(),
        key: key.to_owned(),
        place: Some(place),
        status: 30,
        starts: 1,
        reasons: Some(0),
        trace: Some(TRACE.to_owned()),
        ..Final::default()
    };
    let lost = changes(&[
        CREATE,
        CLAIM,
        ("leaseExpired", "Ready", "WaitingForResources", 1),
        ("claim", "Locked", "InProgress", 2),
        ("succeed", "Completed", "Succeeded", 2),
    ]);
    let finals = vec![
        Final {
            completed_ns: Some(1_310 * MS),
            starts: 2,
            lost: 1,
            reasons: Some(1),
            accepted: Some(2),
            version: 5,
            changes: lost,
            ..final_of(A, "a", (0, 0))
        },
        Final {
            completed_ns: Some(1_610 * MS),
            accepted: Some(3),
            version: 3,
            changes: changes(&[CREATE, CLAIM, SUCCEED]),
            ..final_of(B, "b", (0, 1))
        },
        Final {
            completed_ns: Some(1_900 * MS),
            status: 32,
            starts: 0,
            version: 3,
            changes: changes(&[
                CREATE,
                ("pause", "Suspended", "Waiting", 0),
                ("cancel", "Completed", "Canceled", 0),
            ]),
            ..final_of(C, "c", (1, 0))
        },
    ];
    Evidence {
        history: History::of(lines),
        finals,
        lease: LEASE,
        blocked: vec![Blocked {
            id: C.to_owned(),
            token: 1,
            why: "paused".to_owned(),
            from_ns: 0,
            until_ns: 1_800 * MS,
        }],
        probes: vec![Probe {
            what: "a create without a key".to_owned(),
            expected: 401,
            answered: Some(401),
        }],
        needs: Needs {
            take_overs: true,
            refused_writes: true,
            counted: vec![("the broker had messages when it was wiped".to_owned(), 7)],
        },
    }
}
