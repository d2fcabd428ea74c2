//! Error codes as the service writes them: `0x8004A001`.

use drumline_protocol::ErrorCode;
use serde::{Deserialize as _, Deserializer, Serializer};

/// Writes a code.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
pub(crate) fn serialize<S: Serializer>(code: &ErrorCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(code)
}

/// Reads a code.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ErrorCode, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.strip_prefix("0x")
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .map(ErrorCode)
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not an error code")))
}
