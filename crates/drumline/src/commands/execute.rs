//! `drumline execute`: one organization request from a file, sent as it is.

use std::fs;
use std::io;
use std::path::Path;

use drumline_client::{Error, Fault, ItemResponse, OrganizationResponse};
use serde_json::json;
use serde_json::value::RawValue;

use super::Session;
use crate::cli::client::Execute;
use crate::exit::{Exit, Failure, Result};
use crate::output::table::{self, table};

/// Executes, and prints the answer.
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
        show(session, &response)?;
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

/// A fault is an answer, too; an error that may pass is none.
fn faulted(session: &Session, error: Error) -> Result<Exit> {
    let Some(fault) = error.fault().filter(|_| !error.is_transient()) else {
        return Err(error.into());
    };
    if session.out.is_json() {
        session.out.json(&json!({ "fault": fault }))?;
    }
    let mut failure = Failure::from(error);
    failure.exit = Exit::Faulted;
    if let Some(index) = fault.faulted_request_index {
        let text = format!("the request with index {index} faulted; nothing was done");
        failure.error = failure.error.context(text);
    }
    Err(failure)
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

/// A table with a row per item, or what a single request answered.
fn show(session: &Session, response: &OrganizationResponse) -> Result<()> {
    let rows: Vec<[String; 3]> = match response {
        OrganizationResponse::ExecuteMultiple { responses, .. } => {
            responses.iter().map(of_item).collect()
        }
        OrganizationResponse::ExecuteTransaction { responses } => responses
            .iter()
            .enumerate()
            .map(|(index, response)| of_success(index, response.as_ref()))
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
        return Ok(session.out.line("done")?);
    }
    let mut shown = table(&["INDEX", "REQUEST", "RESULT"]);
    shown.add_rows(rows);
    session.out.line(&table::text(shown))?;
    Ok(())
}

fn of_item(item: &ItemResponse) -> [String; 3] {
    match &item.outcome {
        Ok(response) => of_success(item.request_index, response.as_ref()),
        Err(fault) => [
            item.request_index.to_string(),
            String::new(),
            of_fault(fault),
        ],
    }
}

fn of_success(index: usize, response: Option<&OrganizationResponse>) -> [String; 3] {
    let (name, said) = match response {
        Some(response) => (response.name(), said(response)),
        None => ("", "done".to_owned()),
    };
    [index.to_string(), name.to_owned(), said]
}

fn of_fault(fault: &Fault) -> String {
    format!("{} {}: {fault}", fault.error_code, fault.name)
}

/// What a request answered, in a line.
fn said(response: &OrganizationResponse) -> String {
    match response {
        OrganizationResponse::Create { id, existed: false } => id.clone(),
        OrganizationResponse::Create { id, existed: true } => format!("{id} (was there)"),
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
        OrganizationResponse::Update
        | OrganizationResponse::Delete
        | OrganizationResponse::ExecuteMultiple { .. }
        | OrganizationResponse::ExecuteTransaction { .. } => "done".to_owned(),
    }
}
