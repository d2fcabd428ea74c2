//! `/v1/queues/{name}/scale`: the load of a queue, for a program that starts and ends
//! workers, such as the `metrics-api` scaler of KEDA.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use drumline_api::{FieldError, Invalid};
use drumline_protocol::QueueName;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi;
use super::problem::Answer;
use crate::ingress::problem::Problem;
use crate::service::QueueManager;

/// The load of a queue.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScaleView {
    /// The number of operations that a worker could claim now: Ready, held by no pause,
    /// first of their token. A lower bound where there are very many.
    runnable: u64,
    /// The number of operations that the workers of the queue run now, of any of their
    /// queues.
    running: u64,
    /// The number of operations that the workers of the queue can run at the same time.
    capacity: u64,
    /// Seconds since the runnable operation that waits longest was created, resumed or
    /// woken; 0 without one.
    oldest_seconds: u64,
    /// The number of operations that should run at the same time: `runnable` and
    /// `running`. Divided by the concurrency of a worker, it is the number of workers.
    wanted: u64,
}

/// Read the load of a queue
#[utoipa::path(
    get, path = "/v1/queues/{name}/scale", tag = "fleet",
    params(("name" = String, Path, description = "The name of the queue")),
    responses(
        (status = 200, description = "The load. A queue that nobody has used has none", body = ScaleView),
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn scale(
    State(manager): State<QueueManager>,
    name: Result<Path<String>, PathRejection>,
) -> Answer<Json<ScaleView>> {
    // A name that is not UTF-8 is no name of a queue.
    let name = name.map_or_else(|_not_text| String::new(), |Path(name)| name);
    let queue = match name.parse::<QueueName>() {
        Ok(queue) => queue,
        Err(error) => {
            let wrong = FieldError::new("name", error.to_string());
            return Err(Problem::from(Invalid::arguments(vec![wrong])).into());
        }
    };
    let scale = manager.scale(&queue).await?;
    Ok(Json(ScaleView {
        wanted: scale.wanted(),
        runnable: scale.runnable,
        running: scale.running,
        capacity: scale.capacity,
        oldest_seconds: scale.oldest.as_secs(),
    }))
}
