//! The environment, and values in `drumline.toml`, as every reader of settings
//! takes them.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

/// The file that is read when it exists and no other is named.
pub const DEFAULT_FILE: &str = "drumline.toml";
/// The variable that names another file.
pub const FILE_VARIABLE: &str = "DRUMLINE_CONFIG";

/// Returns a variable of the environment. Readers of settings call this, and
/// nothing else reads the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the configuration loader"
)]
#[must_use]
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Returns the file that was named, else the default file if it exists. A file
/// that was named and does not exist is a mistake, which reading it reports.
#[must_use]
pub fn file_to_read(named: Option<OsString>, default: &Path) -> Option<PathBuf> {
    named
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| default.exists().then(|| default.to_owned()))
}

/// Returns the line at which a span of the text begins, from 1.
#[must_use]
pub fn line(text: &str, span: &Range<usize>) -> usize {
    let before = text.get(..span.start).unwrap_or_default();
    before.matches('\n').count() + 1
}

/// Returns the values in the file as a flag or a variable would hold them. Only
/// a setting that `is_list` takes several.
///
/// # Errors
/// Says what is wrong.
pub fn values(value: &DeValue<'_>, is_list: bool) -> Result<Vec<String>, String> {
    match value {
        DeValue::Array(items) if is_list && items.is_empty() => Err("an empty list".to_owned()),
        DeValue::Array(items) if is_list => {
            items.iter().map(|item| scalar(item.get_ref())).collect()
        }
        DeValue::Array(_) => Err("takes one value, not a list".to_owned()),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => scalar(value).map(|value| vec![value]),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(truth) => Ok(truth.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|error| error.to_string()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(format!(
                "expected a string, a number, true or false; found {}",
                value.type_str()
            ))
        }
    }
}
