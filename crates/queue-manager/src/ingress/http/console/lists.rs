//! `/tokens` and `/series`: operations, put together by what they have in common.
//!
//! No index lists tokens or series. So these pages look at the newest operations, say
//! how many they have looked at, and lead to the lists.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Html;
use drumline_backend::store::{Filter, Page, Summary};
use drumline_console::{
    Badge, Cell, Moment, Root, Search, Section, Sheet, SheetPage, Text, address,
};
use drumline_protocol::{
    ChainKey, DependencyToken, OperationId, Recurrence, State as Stage, Timestamp,
};

use super::operation::{root, title, waiting};
use super::viewer::Seen;
use super::{html, value};
use crate::error::Result;
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::service::{Query, QueueManager};

/// Operations that are looked at for a page.
const LOOKED_AT: usize = 200;
/// Operations that are shown of one token.
const OF_TOKEN: usize = 20;

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
        "" => vec![
            holding(&manager, &seen).await?,
            waiting_tokens(&manager, &seen).await?,
        ],
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
    let found = look(manager, seen, filter).await?;
    let mut sheet = Sheet {
        title: "Held tokens",
        intro: vec![Text::sentence(
            "The head of each failed or was cancelled, and what is behind it waits until a person resumes that head",
        )],
        columns: vec!["Token", "Held by", "Status", "Since"],
        empty: "No token is held.",
        ..Sheet::default()
    };
    for one in &found.operations {
        sheet.rows.push(vec![
            token_cell(one),
            Cell::link(title(&one.body), format!("/operations/{}", one.id)),
            Cell::badge(Badge(one.header.status)),
            moment_cell(one.header.completed_on, seen.now),
        ]);
    }
    if found.next.is_some() {
        sheet
            .intro
            .push(looked_at(&found, "failed or cancelled operation"));
    }
    Ok(sheet)
}

/// The tokens of the operations that wait.
async fn waiting_tokens(manager: &QueueManager, seen: &Seen) -> Result<Sheet> {
    let filter = Filter {
        state: Some(Stage::Ready),
        ..Filter::default()
    };
    let found = look(manager, seen, filter).await?;
    let mut by_token: BTreeMap<&str, (usize, &Summary)> = BTreeMap::new();
    for one in &found.operations {
        if let Some(token) = &one.body.dependency_token {
            let (count, oldest) = by_token.entry(token.as_str()).or_insert((0, one));
            *count += 1;
            // The list is newest first.
            *oldest = one;
        }
    }
    let mut longest: Vec<_> = by_token.into_iter().collect();
    longest.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let rows = longest.into_iter().map(|(token, (count, oldest))| {
        vec![
            Cell::link(token, page_of_token(token)),
            Cell::text(count.to_string()),
            moment_cell(Some(oldest.body.created_on), seen.now),
        ]
    });
    Ok(Sheet {
        title: "Tokens that wait",
        columns: vec![
            "Token",
            "Ready operations",
            "The oldest of these was created",
        ],
        rows: rows.collect(),
        empty: "No operation with a token waits.",
        intro: vec![looked_at(&found, "Ready operation")],
        ..Sheet::default()
    })
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
        let pause = address("/pauses", [("scope", "dependencyToken"), ("name", text)]);
        sheet.links.push((Text::line("Pause this token"), pause));
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

/// The operations that recur.
pub(super) async fn series(
    State(manager): State<QueueManager>,
    seen: Seen,
) -> Answer<Html<String>> {
    let filter = Filter {
        state: Some(Stage::Suspended),
        ..Filter::default()
    };
    let found = look(&manager, &seen, filter).await?;
    let mut sheet = Sheet {
        columns: vec!["Series", "Rule", "Next time", "Last occurrence"],
        intro: vec![looked_at(&found, "Suspended operation")],
        empty: "There is no series among these.",
        ..Sheet::default()
    };
    for one in &found.operations {
        let Some(recurrence) = &one.header.recurrence else {
            continue;
        };
        let next = match one.header.postpone_until {
            Some(next) => moment_cell(Some(next), seen.now),
            None => Cell::text("none: it is paused"),
        };
        let last = recurrence.last.map_or_else(Cell::default, |last| {
            let at = Moment {
                at: last.created(),
                now: seen.now,
            };
            Cell::link(at.relative(), format!("/operations/{last}"))
        });
        sheet.rows.push(vec![
            Cell::link(title(&one.body), format!("/operations/{}", one.id)),
            Cell::text(rule_in_words(recurrence)),
            next,
            last,
        ]);
    }
    Ok(html(&SheetPage {
        frame: seen.frame("Series", Section::Series),
        lead: vec![Text::sentence(
            "A series creates an operation each time its rule comes due; it never runs itself",
        )],
        search: None,
        sheets: vec![sheet],
    }))
}

/// The newest operations that a filter selects.
async fn look(manager: &QueueManager, seen: &Seen, filter: Filter) -> Result<Page<Summary>> {
    let query = Query {
        filter,
        cursor: None,
        limit: LOOKED_AT,
    };
    manager.list_summaries(&seen.actor, &query).await
}

/// The extent of a search, in a sentence. `what` names one of its objects.
fn looked_at(found: &Page<Summary>, what: &str) -> Text {
    let count = found.operations.len();
    Text::sentence(&match found.next {
        Some(next) => format!(
            "looked at the newest {count} {what}s, back to {}; there are more",
            drumline_console::exact(next.created())
        ),
        None => match count {
            0 => format!("there is no {what}"),
            1 => format!("looked at the only {what}"),
            _ => format!("looked at all {count} {what}s"),
        },
    })
}

fn token_cell(one: &Summary) -> Cell {
    let token = one.body.dependency_token.as_ref();
    token.map_or_else(Cell::default, |token| {
        Cell::link(token.as_str(), page_of_token(token.as_str()))
    })
}

fn moment_cell(at: Option<Timestamp>, now: Timestamp) -> Cell {
    at.map_or_else(Cell::default, |at| Cell::moment(Moment { at, now }))
}
/// A rule, with its time zone behind it.
fn rule_in_words(recurrence: &Recurrence) -> String {
    match recurrence.time_zone() {
        Some(zone) => format!("{} ({zone})", recurrence.rule()),
        None => recurrence.rule().to_owned(),
    }
}
