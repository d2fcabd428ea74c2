//! `/tokens`: the tokens of operations that wait, and one token.
//!
//! No index lists tokens. So the page looks at the newest Ready operations, says how far
//! it has looked, and goes on from there. The length of a token and its head are exact:
//! the chain is asked for them, which costs a read for each token of the page.

use std::cmp::Reverse;
use std::collections::HashMap;

use axum::extract::State;
use axum::response::Html;
use drumline_backend::store::{ChainPlace, Filter, Neighbourhood, Page, Summary};
use drumline_console::{Badge, Cell, Root, Search, Section, Sheet, SheetPage, Text, View, address};
use drumline_protocol::{
    ChainKey, DependencyToken, OperationId, Pause, PauseKind, State as Stage, Status,
};
use futures_util::stream::{self, StreamExt as _};

use super::lists::{look, looked_at, moment_cell};
use super::operation::{root, title, waiting};
use super::viewer::Seen;
use super::{html, pauses, value};
use crate::error::Result;
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::service::{Query, QueueManager};

/// Operations that are shown of one token.
const OF_TOKEN: usize = 20;
/// Chains that are asked at the same time.
const AT_ONCE: usize = 16;

/// The order of the tokens that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// By the number of operations.
    Longest,
    /// By the creation of the head.
    OldestHead,
}

impl Order {
    /// The word in the address.
    const fn name(self) -> &'static str {
        match self {
            Self::Longest => "length",
            Self::OldestHead => "head",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Longest => "Longest first",
            Self::OldestHead => "Oldest head first",
        }
    }

    fn of(pairs: &[(String, String)]) -> Self {
        if value(pairs, "order") == Self::OldestHead.name() {
            Self::OldestHead
        } else {
            Self::Longest
        }
    }
}

/// A token whose operations wait.
struct Line {
    token: DependencyToken,
    /// The number of operations in its chain.
    length: u64,
    /// The first of them.
    head: Summary,
}

/// The tokens, or one of them.
pub(super) async fn tokens(
    State(manager): State<QueueManager>,
    seen: Seen,
    Parameters(pairs): Parameters,
) -> Answer<Html<String>> {
    let token = value(&pairs, "token");
    let search = Search {
        address: "/tokens",
        label: "Token",
        name: "token",
        value: token.to_owned(),
    };
    let sheets = match token {
        "" => {
            let (holding, waiting) = tokio::join!(
                holding(&manager, &seen),
                waiting_tokens(&manager, &seen, &pairs),
            );
            vec![holding?, waiting?]
        }
        token => vec![of_token(&manager, &seen, token).await?],
    };
    let heading = match token {
        "" => "Tokens".to_owned(),
        token => format!("Token {token}"),
    };
    Ok(html(&SheetPage {
        frame: seen.frame(heading, Section::Tokens),
        lead: vec![Text::sentence(
            "Operations with the same token run strictly in order of creation",
        )],
        search: Some(search),
        sheets,
    }))
}

fn page_of_token(token: &str) -> String {
    address("/tokens", [("token", token)])
}

/// The operations that hold their token.
async fn holding(manager: &QueueManager, seen: &Seen) -> Result<Sheet> {
    let filter = Filter {
        holding: Some(true),
        ..Filter::default()
    };
    let found = look(manager, seen, filter, None).await?;
    let mut columns = vec!["Token", "Held by", "Status", "Since"];
    if seen.rights.operate {
        columns.push("Actions");
    }
    let mut sheet = Sheet {
        title: "Held tokens",
        intro: vec![Text::sentence(
            "The head of each failed or was cancelled, and what is behind it waits until a person resumes that head",
        )],
        columns,
        empty: "No token is held.",
        ..Sheet::default()
    };
    for one in &found.operations {
        let mut row = vec![
            token_cell(one),
            Cell::link(title(&one.body), format!("/operations/{}", one.id)),
            Cell::badge(Badge(one.header.status)),
            moment_cell(one.header.completed_on, seen.now),
        ];
        if seen.rights.operate {
            let mut actions = vec![("Release", format!("/operations/{}/resume", one.id))];
            actions.extend(one.body.dependency_token.as_ref().map(cancel));
            row.push(Cell::actions(actions));
        }
        sheet.rows.push(row);
    }
    if found.next.is_some() {
        sheet
            .intro
            .push(looked_at(&found, "failed or cancelled operation"));
    }
    Ok(sheet)
}

/// The tokens of the operations that wait, in the order that the address names.
async fn waiting_tokens(
    manager: &QueueManager,
    seen: &Seen,
    pairs: &[(String, String)],
) -> Result<Sheet> {
    let filter = Filter {
        state: Some(Stage::Ready),
        ..Filter::default()
    };
    // An address with another cursor than a page gives begins at the newest.
    let cursor: Option<OperationId> = value(pairs, "cursor").parse().ok();
    let (pauses, found) = tokio::join!(
        manager.pauses(&seen.actor),
        look(manager, seen, filter, cursor),
    );
    let (pauses, found) = (pauses?, found?);
    let order = Order::of(pairs);
    let mut lines = lines(manager, &found.operations).await?;
    match order {
        Order::Longest => lines.sort_by_key(|line| (Reverse(line.length), line.head.id)),
        Order::OldestHead => lines.sort_by_key(|line| (line.head.body.created_on, line.head.id)),
    }
    let extent = match cursor {
        Some(cursor) => looked_further(&found, cursor),
        None => looked_at(&found, "Ready operation"),
    };
    let mut columns = vec!["Token", "Operations", "Head", "Head created"];
    if seen.rights.operate {
        columns.push("Actions");
    }
    let cursor = cursor.map(|cursor| cursor.to_string());
    let place = |order: Order, cursor: Option<&str>| {
        let cursor = cursor.map(|cursor| ("cursor", cursor));
        address(
            "/tokens",
            [("order", order.name())].into_iter().chain(cursor),
        )
    };
    let orders = [Order::Longest, Order::OldestHead].map(|one| View {
        label: one.label(),
        address: place(one, cursor.as_deref()),
        is_here: one == order,
    });
    let mut links = Vec::new();
    if cursor.is_some() {
        links.push((Text::line("Newest"), place(order, None)));
    }
    if let Some(next) = found.next {
        let next = place(order, Some(&next.to_string()));
        links.push((Text::line("Look further back"), next));
    }
    Ok(Sheet {
        title: "Tokens that wait",
        columns,
        rows: lines.iter().map(|line| row(line, seen, &pauses)).collect(),
        empty: "No operation with a token waits.",
        intro: vec![extent],
        orders: orders.into(),
        links,
        ..Sheet::default()
    })
}

/// The extent of a search that goes on, in a sentence.
fn looked_further(found: &Page<Summary>, cursor: OperationId) -> Text {
    let count = found.operations.len();
    let from = drumline_console::exact(cursor.created());
    let rest = match found.next {
        Some(next) => format!(
            ", back to {}; there are more",
            drumline_console::exact(next.created())
        ),
        None => "; there are no older ones".to_owned(),
    };
    Text::sentence(&format!(
        "looked at {count} Ready operations from before {from}{rest}"
    ))
}

/// The tokens of some operations, with their chains as they are now.
async fn lines(manager: &QueueManager, found: &[Summary]) -> Result<Vec<Line>> {
    let mut newest: HashMap<&DependencyToken, OperationId> = HashMap::new();
    for one in found {
        if let Some(token) = &one.body.dependency_token {
            newest.entry(token).or_insert(one.id);
        }
    }
    let newest: Vec<_> = newest
        .into_iter()
        .map(|(token, id)| (token.clone(), id))
        .collect();
    let places: Vec<_> = stream::iter(newest)
        .map(|(token, id)| async move {
            let place = manager.store().chain_place(id, Neighbourhood::NONE).await;
            (token, place)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut chains = Vec::new();
    for (token, place) in places {
        // It may have left the chain in between.
        if let Some(place) = place? {
            chains.push((token, place));
        }
    }
    let ids: Vec<_> = chains.iter().map(|(_, place)| place.head).collect();
    let heads = manager.store().summaries(&ids).await?;
    let lines = chains.into_iter().zip(heads);
    let line = |((token, place), head): ((DependencyToken, ChainPlace), Option<Summary>)| {
        Some(Line {
            token,
            length: place.before + place.behind + 1,
            // It may have been removed in between.
            head: head?,
        })
    };
    Ok(lines.filter_map(line).collect())
}

fn row(line: &Line, seen: &Seen, in_force: &[Pause]) -> Vec<Cell> {
    let Line {
        token,
        length,
        head,
    } = line;
    let pause = in_force.iter().find(|pause| {
        pause.scope.kind == PauseKind::DependencyToken && pause.scope.value == token.as_str()
    });
    let name = Cell::link(token.as_str(), page_of_token(token.as_str()));
    let name = match pause {
        Some(pause) => name.with_note(pauses::in_words(pause, seen.now)),
        None => name,
    };
    let of_head = Cell {
        badge: Some(Badge(head.header.status)),
        ..Cell::link(title(&head.body), format!("/operations/{}", head.id))
    };
    let mut row = vec![
        name,
        Cell::text(drumline_console::number(*length)),
        of_head.with_note(drumline_console::reason(&head.header, seen.now)),
        moment_cell(Some(head.body.created_on), seen.now),
    ];
    if seen.rights.operate {
        let mut actions = vec![match pause {
            Some(pause) => ("Lift the pause", pauses::lift_address(pause)),
            None => (
                "Pause",
                pauses::set_address(PauseKind::DependencyToken, token.as_str()),
            ),
        }];
        match head.header.status {
            Status::Waiting => {
                actions.push(("Resume the head", format!("/operations/{}/resume", head.id)));
            }
            Status::Failed | Status::Canceled => {
                actions.push(("Release", format!("/operations/{}/resume", head.id)));
            }
            Status::WaitingForResources
            | Status::InProgress
            | Status::Pausing
            | Status::Canceling
            | Status::Succeeded => {}
        }
        actions.push(cancel(token));
        row.push(Cell::actions(actions));
    }
    row
}

/// The way to cancel what waits of a token.
fn cancel(token: &DependencyToken) -> (&'static str, String) {
    let ready = [("dependencyToken", token.as_str()), ("state", "Ready")];
    ("Cancel what waits", address("/many/cancel", ready))
}

/// One token: its head, and the newest operations.
async fn of_token(manager: &QueueManager, seen: &Seen, text: &str) -> Result<Sheet> {
    let mut sheet = Sheet {
        title: "Newest operations of this token",
        columns: vec!["Operation", "Status", "Created"],
        empty: "No operation has this token.",
        ..Sheet::default()
    };
    let Ok(token) = DependencyToken::try_from(text.to_owned()) else {
        return Ok(sheet);
    };
    let query = Query {
        filter: Filter {
            chain: Some(ChainKey::new(&seen.actor.organization, &token)),
            ..Filter::default()
        },
        cursor: None,
        limit: OF_TOKEN,
    };
    let found = manager.glance(&seen.actor, &query).await?;
    for one in &found.operations {
        sheet.rows.push(vec![
            Cell::link(title(&one.body), format!("/operations/{}", one.id)),
            Cell::badge(Badge(one.header.status)),
            moment_cell(Some(one.body.created_on), seen.now),
        ]);
    }
    let is_open = |one: &&Summary| one.header.status.state() != Stage::Completed;
    if let Some(newest) = found.operations.iter().find(is_open) {
        let (why, head) = why_it_waits(manager, seen, newest.id).await?;
        sheet.intro = why;
        let link = head.map(|head| {
            let words = format!("Head: {} ({})", head.name, head.status.label());
            (Text::line(&words), format!("/operations/{}", head.id))
        });
        sheet.links.extend(link);
    } else if !sheet.rows.is_empty() && found.next.is_none() {
        sheet
            .intro
            .push(Text::sentence("All of them are Completed: nothing waits"));
    }
    if sheet.rows.is_empty() {
        return Ok(sheet);
    }
    let of = |path: &str| address(path, [("dependencyToken", text), ("state", "Ready")]);
    let all = address("/operations", [("dependencyToken", text)]);
    sheet
        .links
        .push((Text::line("All operations of this token"), all));
    if seen.rights.operate {
        let (label, to) = pause_or_lift(manager, seen, text).await?;
        sheet.links.push((Text::line(label), to));
        sheet
            .links
            .push((Text::line("Cancel what waits"), of("/many/cancel")));
    }
    Ok(sheet)
}

/// The reason why the newest operation of a token waits, and the head, if it waits for
/// that.
async fn why_it_waits(
    manager: &QueueManager,
    seen: &Seen,
    id: OperationId,
) -> Result<(Vec<Text>, Option<Root>)> {
    let Ok(newest) = manager.get(&seen.actor, id).await else {
        // It was removed in between.
        return Ok((Vec::new(), None));
    };
    let reason = waiting(manager, &newest).await?;
    let why = drumline_console::why(&newest, reason.as_ref(), seen.now);
    let mut said = vec![Text::sentence("About the newest one that is not Completed")];
    said.extend(why);
    Ok((said, root(manager, reason.as_ref()).await?))
}

/// The way to pause a token, or to lift its pause.
async fn pause_or_lift(
    manager: &QueueManager,
    seen: &Seen,
    token: &str,
) -> Result<(&'static str, String)> {
    let in_force = manager.pauses(&seen.actor).await?;
    let mut of_token = in_force.iter().filter(|pause| {
        pause.scope.kind == PauseKind::DependencyToken && pause.scope.value == token
    });
    Ok(match of_token.next() {
        Some(pause) => ("Lift the pause of this token", pauses::lift_address(pause)),
        None => {
            let to = pauses::set_address(PauseKind::DependencyToken, token);
            ("Pause this token", to)
        }
    })
}

fn token_cell(one: &Summary) -> Cell {
    let token = one.body.dependency_token.as_ref();
    token.map_or_else(Cell::default, |token| {
        Cell::link(token.as_str(), page_of_token(token.as_str()))
    })
}
