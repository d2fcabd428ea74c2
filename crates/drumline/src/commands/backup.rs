//! `drumline backup`: a copy of the folder of `drumline standalone`, while it is in use.

use drumline_backend_embedded::{BackupFile, BackupSummary, Error};
use drumline_protocol::text::counted;
use serde_json::json;

use super::Session;
use crate::cli::client::Backup;
use crate::exit::{Exit, Failure, Result};
use crate::output::hint;
use crate::output::progress::Progress;
use crate::run::catch_signals;

/// Makes the file. It is not there if the command fails, or a signal ends it.
pub(crate) async fn run(session: &Session, args: &Backup) -> Result<Exit> {
    let mut signals = catch_signals()?;
    let file = BackupFile::new(&args.file).map_err(|error| failure(args, error))?;
    let received = tokio::select! {
        received = receive(session, args, file) => received?,
        _signal = signals.next() => {
            hint("interrupted: no file was made");
            return Ok(Exit::Interrupted);
        }
    };
    let made = on_disk(move || received.finish()).await?;
    told(session, args, made.map_err(|error| failure(args, error))?)?;
    Ok(Exit::Ok)
}

async fn receive(session: &Session, args: &Backup, mut file: BackupFile) -> Result<BackupFile> {
    let failed = |error: Error| failure(args, error);
    let mut pieces = session.client.backup().await?;
    let mut progress = Progress::open("bytes");
    while let Some(piece) = pieces.next().await? {
        progress.advance(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        file = on_disk(move || file.take(&piece).map(|()| file))
            .await?
            .map_err(failed)?;
    }
    progress.finish();
    Ok(file)
}

fn told(session: &Session, args: &Backup, made: BackupSummary) -> Result<()> {
    if session.out.is_json() {
        session.out.json(&json!({
            "file": args.file,
            "operations": made.operations,
            "bytes": made.bytes,
        }))?;
    } else {
        session.out.line(&format!(
            "{}: {}, {} MiB",
            args.file.display(),
            counted(made.operations, "operation", "operations"),
            made.bytes.div_ceil(1 << 20)
        ))?;
    }
    Ok(())
}

/// Works on a thread that may wait for the disk.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Failure::caused(Exit::Internal, panic))
}

fn failure(args: &Backup, error: Error) -> Failure {
    let (exit, remedy) = match &error {
        Error::NoBackup { .. } => (
            Exit::Unavailable,
            "make it again; if it was broken off, the log of the process says why",
        ),
        Error::OtherBackup { .. } => (
            Exit::Data,
            "check --server, and use the `drumline` of the release that the process has",
        ),
        Error::Folder { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            (Exit::Usage, "name a file that is not there")
        }
        _ => (
            Exit::Failed,
            "name a file in a folder that is there, that this user may write to, and whose disk has room",
        ),
    };
    Failure {
        exit,
        error: anyhow::Error::new(error).context(format!(
            "{} was not made\n  what to do: {remedy}",
            args.file.display()
        )),
    }
}
