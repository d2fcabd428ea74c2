//! `drumline execute`: one organization request from a file, sent as it is.

use std::fs;
use std::io;
use std::path::Path;

use drumline_client::{Error, Fault, ItemResponse, OrganizationResponse};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Session;
use crate::cli::client::Execute;
use crate::exit::{Exit, Failure, Result};
use crate::output::hint;
use crate::output::table::table;

/// Executes the request, and prints the answer.
pub(crate) async fn run(session: &Session, execute: &Execute) -> Result<Exit> {
    let request = read(&execute.file)?;
    let answer = match session.client.execute_json(request.get()).await {
        Ok(answer) => answer,
        Err(error) => return faulted(session, error),
    };
    let response = OrganizationResponse::read(&answer)?;
    if session.out.is_json() {
        session.out.json(&answer)?;
    } else {
        show(session, &response, &names(&request))?;
    }
    Ok(exit_of(&response))
}

/// The JSON in the file. It stays as it was written.
fn read(path: &Path) -> Result<Box<RawValue>> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(path)
    };
    let what = path.display();
    let text = text.map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("{what} cannot be read"));
        Failure::caused(Exit::Data, error)
    })?;
    RawValue::from_string(text)
        .map_err(|error| Failure::new(Exit::Data, format!("{what} is not JSON: {error}")))
}

/// Prints a fault, which is an answer, too; a transient error is not.
fn faulted(session: &Session, error: Error) -> Result<Exit> {
    let Some(fault) = error.fault().filter(|_| !error.is_transient()) else {
        return Err(error.into());
    };
    if session.out.is_json() {
        session.out.json(&json!({ "fault": fault }))?;
    }
    // The message of a transaction's fault names the faulty request.
    let mut failure = Failure::from(error);
    failure.exit = Exit::Faulted;
    Err(failure)
}

/// The names of the requests in a batch, for answers without one: a fault, an
/// update. Empty if the file has no readable names.
fn names(request: &RawValue) -> Vec<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Batch {
        parameters: Parameters,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Parameters {
        requests: Vec<Value>,
    }
    let batch: Batch = serde_json::from_str(request.get()).unwrap_or_default();
    let requests = batch.parameters.requests.iter();
    requests
        .map(|request| {
            request["requestName"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

fn exit_of(response: &OrganizationResponse) -> Exit {
    match response {
        OrganizationResponse::ExecuteMultiple {
            is_faulted: true, ..
        } => Exit::Faulted,
        OrganizationResponse::ExecuteMultiple { .. }
        | OrganizationResponse::Create { .. }
        | OrganizationResponse::Retrieve(_)
        | OrganizationResponse::RetrieveMultiple(_)
        | OrganizationResponse::Update
        | OrganizationResponse::Delete
        | OrganizationResponse::ExecuteAsync { .. }
        | OrganizationResponse::ExecuteTransaction { .. } => Exit::Ok,
    }
}

/// Shows a table with a row per item, or the answer of a single request.
fn show(session: &Session, response: &OrganizationResponse, names: &[String]) -> Result<()> {
    let rows: Vec<[String; 3]> = match response {
        OrganizationResponse::ExecuteMultiple { responses, .. } => {
            responses.iter().map(|item| of_item(item, names)).collect()
        }
        OrganizationResponse::ExecuteTransaction { responses } => responses
            .iter()
            .enumerate()
            .map(|(index, response)| of_success(index, response.as_ref(), names))
            .collect(),
        OrganizationResponse::Retrieve(retrieved) => {
            return match retrieved.operation() {
                Ok(operation) => Ok(session.out.operation(&operation)?),
                Err(_some_columns_only) => Ok(session.out.json(&retrieved.attributes()?)?),
            };
        }
        OrganizationResponse::Create { .. }
        | OrganizationResponse::RetrieveMultiple(_)
        | OrganizationResponse::Update
        | OrganizationResponse::Delete
        | OrganizationResponse::ExecuteAsync { .. } => {
            return Ok(session.out.line(&said(response))?);
        }
    };
    if rows.is_empty() {
        session.out.line("done")?;
        hint("the ids of created operations are returned with \"returnResponses\": true");
        return Ok(());
    }
    let mut shown = table(&["INDEX", "REQUEST", "RESULT"]);
    for row in rows {
        shown.add_row(row);
    }
    session.out.line(&shown.text())?;
    Ok(())
}

fn of_item(item: &ItemResponse, names: &[String]) -> [String; 3] {
    let index = item.request_index;
    match &item.outcome {
        Ok(response) => of_success(index, response.as_ref(), names),
        Err(fault) => row(index, names, of_fault(fault)),
    }
}

fn of_success(
    index: usize,
    response: Option<&OrganizationResponse>,
    names: &[String],
) -> [String; 3] {
    row(
        index,
        names,
        response.map_or_else(|| "done".to_owned(), said),
    )
}

fn row(index: usize, names: &[String], result: String) -> [String; 3] {
    let name = names.get(index).cloned().unwrap_or_default();
    [index.to_string(), name, result]
}

fn of_fault(fault: &Fault) -> String {
    format!("{} {}: {fault}", fault.error_code, fault.name)
}

/// The answer of a request, in a line.
fn said(response: &OrganizationResponse) -> String {
    match response {
        OrganizationResponse::Create { id, existed: false } => id.clone(),
        OrganizationResponse::Create { id, existed: true } => format!("{id} (existed)"),
        OrganizationResponse::ExecuteAsync { async_job_id } => async_job_id.clone(),
        OrganizationResponse::Retrieve(retrieved) => match retrieved.operation() {
            Ok(operation) => format!("{} {}", operation.id, operation.status),
            Err(_some_columns_only) => "retrieved".to_owned(),
        },
        OrganizationResponse::RetrieveMultiple(page) => {
            let ids: Vec<&str> = page.operations.iter().map(|o| o.id.as_str()).collect();
            match &page.next_cursor {
                Some(cursor) => format!("{}, more at {cursor}", ids.join(", ")),
                None => ids.join(", "),
            }
        }
        // Within a batch: a cell of its table.
        OrganizationResponse::ExecuteTransaction { responses } if !responses.is_empty() => {
            let said = responses.iter().map(|response| {
                let response = response.as_ref();
                response.map_or_else(|| "done".to_owned(), said)
            });
            said.collect::<Vec<_>>().join(", ")
        }
        OrganizationResponse::Update
        | OrganizationResponse::Delete
        | OrganizationResponse::ExecuteMultiple { .. }
        | OrganizationResponse::ExecuteTransaction { .. } => "done".to_owned(),
    }
}
