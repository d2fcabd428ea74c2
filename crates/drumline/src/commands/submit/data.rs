//! `--data`: JSON text, `@FILE`, or `-`.

use std::fs;
use std::io;

use serde_json::value::RawValue;

use crate::exit::{Exit, Failure, Result};

/// The JSON that the flag names. It stays as it was written: numbers keep their
/// digits and objects their order.
pub(in crate::commands) fn read(flag: &str) -> Result<Box<RawValue>> {
    let (whence, text) = match (flag, flag.strip_prefix('@')) {
        ("-", _) => ("standard input", io::read_to_string(io::stdin())),
        (_, Some(path)) => (path, fs::read_to_string(path)),
        (text, None) => ("--data", Ok(text.to_owned())),
    };
    let text = text.map_err(|error| {
        Failure::caused(
            Exit::Data,
            anyhow::Error::new(error).context(format!("{whence} cannot be read")),
        )
    })?;
    RawValue::from_string(text).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("{whence} is not JSON: {error}; a plain string needs its own quotes: --data '\"text\"'"),
        )
    })
}
