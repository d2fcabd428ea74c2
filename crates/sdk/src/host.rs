//! The name of this process for people.

/// Returns the host name and the process id: the default of `hostId`, and a
/// part of the connection's name in RabbitMQ.
pub(crate) fn id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_no_proc| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_else(|_unknown| "host".to_owned());
    format!("{}-{}", host.trim(), std::process::id())
}
