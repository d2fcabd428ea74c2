//! The action after an error of Redis: one function decides.

use drumline_tls::Trouble;
use redis::{ErrorKind, RedisError, RetryMethod, ServerErrorKind};

/// The action after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorAction {
    /// The error may pass, or the request may or may not have been executed:
    /// ask again after a pause.
    Repeat,
    /// The server has none of our scripts: they are loaded; ask again at once.
    LoadScripts,
    /// Waiting does not help, but an operator may: report the error now.
    GiveUp,
    /// The server refuses us, and always will.
    Refuse,
}

/// The code that the server gave, of the first command that failed.
fn code(error: &RedisError) -> Option<String> {
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_, error)| error.code().to_owned())
}

/// Returns the action after an error.
pub(super) fn error_action(error: &RedisError) -> ErrorAction {
    if Trouble::find(error).is_some_and(|trouble| trouble.is_lasting()) {
        return ErrorAction::GiveUp;
    }
    match error.kind() {
        ErrorKind::Server(_) if has_met_a_moving_slot(error) => ErrorAction::Repeat,
        ErrorKind::Server(kind) => by_kind(kind),
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => ErrorAction::Refuse,
        // The client knows no name for these.
        ErrorKind::Extension => match code(error).as_deref() {
            // A script of another client takes long; or replicas are missing, as they
            // are for a moment after a promotion.
            Some("BUSY" | "NOREPLICAS") => ErrorAction::Repeat,
            Some("NOAUTH" | "WRONGPASS") => ErrorAction::Refuse,
            // MISCONF and OOM among them: disk or memory is full.
            Some(_) | None => ErrorAction::GiveUp,
        },
        // The connection: broken, silent, or talking nonsense.
        _ => ErrorAction::Repeat,
    }
}

/// Returns true if a script that only reads has met a key that was moved a moment before. One
/// that writes is refused before it begins, because it names a key that is never there.
fn has_met_a_moving_slot(error: &RedisError) -> bool {
    error
        .detail()
        .is_some_and(|detail| detail.contains("non local key in a cluster node"))
}

fn by_kind(kind: ServerErrorKind) -> ErrorAction {
    match kind {
        ServerErrorKind::NoScript => ErrorAction::LoadScripts,
        // A start, a fail-over, or a slot that is moving.
        ServerErrorKind::BusyLoading
        | ServerErrorKind::TryAgain
        | ServerErrorKind::Moved
        | ServerErrorKind::Ask
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::MasterDown
        | ServerErrorKind::ReadOnly => ErrorAction::Repeat,
        ServerErrorKind::NoPerm => ErrorAction::Refuse,
        _ => ErrorAction::GiveUp,
    }
}

/// Returns true if the connection is to be rebuilt before the next try.
pub(super) fn wants_another_connection(error: &RedisError) -> bool {
    match error.retry_method() {
        RetryMethod::Reconnect | RetryMethod::ReconnectFromInitialConnections => true,
        // The former primary is a replica now; the address may lead elsewhere.
        _ => error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly),
    }
}

/// Returns true if a slot may have moved to another node of the cluster.
pub(super) fn may_have_moved(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        ),
        // The connection, or a primary without replicas.
        ErrorKind::Extension => is_deserted(error),
        _ => true,
    }
}

/// Returns true if the server does not have this key, but another one of its cluster.
pub(super) fn is_elsewhere(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask)
    )
}

/// Returns true if the server has answered with this error, and executed nothing.
pub(super) fn is_an_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// Returns true if a primary writes nothing because it has too few replicas: another
/// server may have become the primary.
pub(super) fn is_deserted(error: &RedisError) -> bool {
    code(error).as_deref() == Some("NOREPLICAS")
}

/// Returns true if the server refuses all writes for now, and answers reads.
pub(super) fn writes_nothing(error: &RedisError) -> bool {
    matches!(
        code(error).as_deref(),
        Some("NOREPLICAS" | "MISCONF" | "OOM")
    )
}

/// The error of a connection to a server that is not the primary.
pub(super) fn replica() -> RedisError {
    // Waiting helps: a promotion may be under way.
    RedisError::from((
        ErrorKind::Server(ServerErrorKind::ReadOnly),
        "it is a read only replica",
    ))
}

/// The error of a cluster in which a slot has no node.
pub(super) fn uncovered() -> RedisError {
    // Waiting helps: a promotion may be under way.
    RedisError::from((
        ErrorKind::Server(ServerErrorKind::ClusterDown),
        "no node of the cluster has the slot",
    ))
}

/// The error of a connection that has said nothing while a request timed out.
pub(super) fn silent() -> RedisError {
    // `wants_another_connection` takes this kind for a broken connection.
    std::io::Error::new(
        std::io::ErrorKind::ConnectionAborted,
        "Redis does not answer",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: &[u8]) -> RedisError {
        redis::parse_redis_value(answer)
            .unwrap()
            .extract_error()
            .unwrap_err()
    }

    #[test]
    fn each_answer_has_its_action() {
        let cases: [(&[u8], ErrorAction); 16] = [
            (b"-MOVED 3999 127.0.0.1:6381\r\n", ErrorAction::Repeat),
            (b"-ASK 3999 127.0.0.1:6381\r\n", ErrorAction::Repeat),
            (
                b"-ERR Script attempted to access a non local key in a cluster node script: 1\r\n",
                ErrorAction::Repeat,
            ),
            (
                b"-LOADING Redis is loading the dataset in memory\r\n",
                ErrorAction::Repeat,
            ),
            (
                b"-TRYAGAIN Multiple keys request during rehashing\r\n",
                ErrorAction::Repeat,
            ),
            (b"-CLUSTERDOWN The cluster is down\r\n", ErrorAction::Repeat),
            (
                b"-MASTERDOWN Link with MASTER is down\r\n",
                ErrorAction::Repeat,
            ),
            (
                b"-READONLY You can't write against a read only replica.\r\n",
                ErrorAction::Repeat,
            ),
            (
                b"-BUSY Redis is busy running a script\r\n",
                ErrorAction::Repeat,
            ),
            (
                b"-NOREPLICAS Not enough good replicas to write.\r\n",
                ErrorAction::Repeat,
            ),
            (
                b"-NOSCRIPT No matching script.\r\n",
                ErrorAction::LoadScripts,
            ),
            (
                b"-MISCONF Errors writing to the AOF file\r\n",
                ErrorAction::GiveUp,
            ),
            (
                b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
                ErrorAction::GiveUp,
            ),
            (b"-ERR unknown command\r\n", ErrorAction::GiveUp),
            (b"-NOAUTH Authentication required.\r\n", ErrorAction::Refuse),
            (
                b"-NOPERM this user has no permissions\r\n",
                ErrorAction::Refuse,
            ),
        ];
        for (answer, expected) in cases {
            assert_eq!(
                error_action(&said(answer)),
                expected,
                "{}",
                String::from_utf8_lossy(answer)
            );
        }
    }

    #[test]
    fn a_dead_or_demoted_server_wants_another_connection() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let timeout = std::io::Error::from(std::io::ErrorKind::TimedOut);
        assert!(wants_another_connection(&silent()));
        assert!(wants_another_connection(&refused.into()));
        assert!(wants_another_connection(&said(b"-READONLY replica\r\n")));
        assert!(wants_another_connection(&replica()));
        assert_eq!(error_action(&replica()), ErrorAction::Repeat);
        assert!(is_deserted(&said(b"-NOREPLICAS none\r\n")));
        assert!(!wants_another_connection(&timeout.into()));
        assert!(!wants_another_connection(&said(b"-LOADING wait\r\n")));
    }
}
