//! The operation as the handlers outside of the worker get it.

use drumline_api::view::OperationView;

use crate::context::Context;

/// The operation as the API shows it, as JSON, and with it the member
/// `checkpoint` if an earlier run has saved one.
pub(super) fn of(context: &Context) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_vec(&OperationView::from(context.operation()))?;
    if let Some(checkpoint) = context.raw_checkpoint()
        && json.pop_if(|last| *last == b'}').is_some()
    {
        json.extend_from_slice(b",\"checkpoint\":");
        json.extend_from_slice(checkpoint.as_bytes());
        json.push(b'}');
    }
    Ok(json)
}
