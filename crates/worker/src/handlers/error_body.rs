//! The error object of a command or a web service: the cause of a failure, beyond
//! an exit code or a status.
//!
//! ```json
//! {"error": {"code": "0x80040216", "message": "the mail database is unavailable",
//!            "friendlyMessage": "Mails cannot be sent at the moment."}}
//! ```
//!
//! Every member may be missing. The code decides the fate of the operation, unless
//! an exit code of a listed kind does. A problem document (RFC 9457), as Drumline's
//! own API gives it, has the same members under other names, and is read too.

use drumline_api::payload;
use drumline_protocol::{ErrorCode, Fault};
use serde::Deserialize;
use serde_json::Value;

/// The parsed error. Every part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ErrorBody {
    pub(crate) code: Option<ErrorCode>,
    message: Option<String>,
    friendly_message: Option<String>,
}

/// The members by which an error object is recognised. A value of another type is
/// foreign: `"code": 503`, say, is no error code of Drumline.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawErrorBody {
    #[serde(default)]
    error: Value,
    #[serde(default)]
    code: Value,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    detail: Value,
    #[serde(default)]
    friendly_message: Value,
}

impl ErrorBody {
    /// Parses a JSON text. No part is set if the text is no object of these two
    /// kinds. Of a text that cannot be parsed (its end was cut off, say), the code
    /// is found: it decides the fate of the operation.
    pub(crate) fn of(json: &str) -> Self {
        // Serde would read a struct from an array, too, which no sender means here.
        if !json.trim_start().starts_with('{') {
            return Self::default();
        }
        let mended = payload::mended(json.to_owned());
        let Ok(mut raw) = serde_json::from_str::<RawErrorBody>(&mended) else {
            return Self {
                code: find_code(json),
                ..Self::default()
            };
        };
        if raw.error.is_object() {
            let inner = serde_json::from_value::<RawErrorBody>(raw.error.take());
            return inner.map(Self::from).unwrap_or_default();
        }
        // A document without a code of Drumline is foreign.
        let problem = Self::from(raw);
        if problem.code.is_some() {
            problem
        } else {
            Self::default()
        }
    }

    /// The fault, with these values in place of missing ones.
    pub(crate) fn fault(self, code: ErrorCode, friendly_message: &str, message: &str) -> Fault {
        Fault::new(
            self.code.unwrap_or(code),
            self.friendly_message.as_deref().unwrap_or(friendly_message),
            self.message.as_deref().unwrap_or(message),
        )
    }
}

impl From<RawErrorBody> for ErrorBody {
    fn from(raw: RawErrorBody) -> Self {
        let text = |value: Value| value.as_str().map(str::to_owned);
        Self {
            code: text(raw.code).and_then(|text| parse(&text)),
            message: text(raw.message).or_else(|| text(raw.detail)),
            friendly_message: text(raw.friendly_message),
        }
    }
}

/// The value of the first member `code` in a text that is no whole JSON.
fn find_code(text: &str) -> Option<ErrorCode> {
    let (_, behind) = text.split_once("\"code\"")?;
    let value = behind.trim_start().strip_prefix(':')?.trim_start();
    let (code, _) = value.strip_prefix('"')?.split_once('"')?;
    parse(code)
}

/// Parses a code: `0x` and eight hexadecimal digits.
fn parse(text: &str) -> Option<ErrorCode> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))?;
    let plain = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = plain.then(|| u32::from_str_radix(digits, 16).ok())?;
    number.map(ErrorCode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> (Option<ErrorCode>, Option<String>, Option<String>) {
        let ErrorBody {
            code,
            message,
            friendly_message,
        } = ErrorBody::of(json);
        (code, message, friendly_message)
    }

    #[test]
    fn both_forms_are_read() {
        let text = |text: &str| Some(text.to_owned());
        let busy = Some(ErrorCode::SERVER_BUSY);
        for (json, expected) in [
            (
                r#"{"error": {"code": "0x8004A001", "message": "m", "friendlyMessage": "f"}}"#,
                (busy, text("m"), text("f")),
            ),
            (
                r#"{"code": "0x8004a001", "name": "ServerBusy", "title": "t", "detail": "d"}"#,
                (busy, text("d"), None),
            ),
            (
                r#"{"error": {"code": "0x8004A001", "message": "a\udc80"}}"#,
                (busy, text("a\u{fffd}"), None),
            ),
            (
                r#"{"error": {"code" : "0x8004A001", "message": "cut o"#,
                (busy, None, None),
            ),
            (r#"{"error": {}}"#, (None, None, None)),
            (r#"{"error": {"message": "m"}}"#, (None, text("m"), None)),
        ] {
            assert_eq!(said(json), expected, "{json}");
        }
    }

    #[test]
    fn what_means_something_else_is_left_alone() {
        for json in [
            "",
            "no json",
            "7",
            "[1]",
            r#"{"error": "invalid_grant"}"#,
            r#"{"error": {"code": 503}}"#,
            r#"{"error": {"code": "ENOENT"}}"#,
            r#"{"error": {"code": "0x8004"}}"#,
            r#"{"error": {"code": "0x+004A001"}}"#,
            r#"{"rows": 3}"#,
            r#"{"error": "invalid_grant", "message": "m"}"#,
        ] {
            assert_eq!(said(json), (None, None, None), "{json}");
        }
    }
}
