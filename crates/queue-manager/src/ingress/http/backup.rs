//! `/v1/backup`: the folder of a durable process, while it is in use.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Extensions;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use drumline_backend::store::{self, Backup};
use futures_util::stream;

use super::guard;
use super::openapi;
use super::problem::Answer;
use crate::error::Error;
use crate::service::QueueManager;

/// The address.
pub(super) const PATH: &str = "/v1/backup";

/// Back up the folder of a durable process
///
/// Everything that the store has at this moment, while it goes on: operations of all
/// organizations with their data. `drumline backup` makes a file of it, and says whether
/// it is complete. One backup is made at a time, and a caller that reads nothing for 30
/// seconds is cut off. Needs an admin of all organizations.
#[utoipa::path(
    get, path = "/v1/backup", tag = "fleet",
    responses(
        (status = 200, description = "The rows of the store, in the format of this release. An answer that breaks off is no backup", content_type = "application/octet-stream", body = Vec<u8>),
        openapi::NoBackup,
        openapi::Busy,
    )
)]
pub(crate) async fn backup(
    State(manager): State<QueueManager>,
    extensions: Extensions,
) -> Answer<impl IntoResponse> {
    guard::check_all_organizations(&manager, &extensions)?;
    let pieces = manager.store().backup().await.map_err(Error::from)?;
    let pieces = pieces.ok_or(Error::NoBackup)?;
    tracing::info!("a backup has begun");
    let reader = Reader {
        pieces: Some(pieces),
        manager,
    };
    let pieces = stream::unfold(reader, |mut reader| async {
        let piece = reader.next().await?;
        Some((piece.map(Bytes::from), reader))
    });
    let kind = [(CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(pieces)))
}

/// A caller that reads a backup.
struct Reader {
    /// `None` behind the last piece, and behind an error.
    pieces: Option<Backup>,
    manager: QueueManager,
}

impl Reader {
    /// The next piece. An error ends the connection, so that a part is not taken for the
    /// whole.
    async fn next(&mut self) -> Option<store::Result<Vec<u8>>> {
        let pieces = self.pieces.as_mut()?;
        let piece = tokio::select! {
            piece = pieces.recv() => piece.unwrap_or_else(|| Err(cut_off("its reader took too long"))),
            () = self.manager.drained() => Err(cut_off("the process ends")),
        };
        let goes_on = piece.as_ref().is_ok_and(|piece| !piece.is_last);
        if !goes_on {
            self.pieces = None;
        }
        if let Err(error) = &piece {
            tracing::warn!(%error, "a backup was broken off");
        }
        Some(piece.map(|piece| piece.bytes))
    }
}

fn cut_off(why: &str) -> store::Error {
    store::Error::Unavailable {
        message: why.to_owned(),
        source: None,
    }
}
