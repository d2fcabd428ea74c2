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

/// Returns a URL without its password, however that is written, and without its query.
/// A `/`, `#` or `@` in a password ought to be escaped, and a user who forgets it must
/// not find the password in the log.
#[must_use]
pub fn masked(url: &str) -> String {
    let mut urls = vec![String::new()];
    for part in url.split(',') {
        // A comma separates the hosts of sentinels and several URLs, and may be in a password.
        match urls.last_mut() {
            Some(last) if !part.contains("://") && !last.is_empty() => {
                last.push(',');
                last.push_str(part);
            }
            Some(last) if last.is_empty() => part.clone_into(last),
            _ => urls.push(part.to_owned()),
        }
    }
    // A part without a user, beside one with a user, may be the half of a password.
    let has_users = urls.len() > 1 && url.contains('@');
    let masked = urls.iter().map(|url| match url.split_once("://") {
        Some((scheme, rest)) if has_users && !rest.contains('@') => format!("{scheme}://…"),
        _ => masked_one(url),
    });
    masked.collect::<Vec<_>>().join(",")
}

/// Masks one URL.
fn masked_one(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Not a URL, and perhaps a password.
        return "…".to_owned();
    };
    let query = rest.find('?').unwrap_or(rest.len());
    match rest.rfind('@') {
        // A `?` in the password, or an `@` in the query: either may be the secret.
        Some(at) if at > query => format!("{scheme}://…"),
        Some(at) => {
            let (user, host) = (&rest[..at], &rest[at + 1..query]);
            let user = user.split([':', '/', '#']).next().unwrap_or_default();
            format!("{scheme}://{user}:***@{host}")
        }
        None => {
            let end = rest.find(['?', '#']).unwrap_or(rest.len());
            format!("{scheme}://{}", &rest[..end])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_password_is_shown() {
        for (url, shown) in [
            ("redis://me:secret@host:1/2", "redis://me:***@host:1/2"),
            ("redis://:secret@host", "redis://:***@host"),
            ("redis://me:a/secret@host", "redis://me:***@host"),
            ("redis://me:secret/a@host", "redis://me:***@host"),
            ("redis://me:a@secret@host", "redis://me:***@host"),
            ("redis://me:secret#a@host", "redis://me:***@host"),
            ("redis://me:secret?a@host", "redis://…"),
            ("redis://host/2?password=secret", "redis://host/2"),
            ("redis://host/2?password=a@secret", "redis://…"),
            (
                "redis://me:x@host/2?password=secret",
                "redis://me:***@host/2",
            ),
            ("amqp://rabbit:5672/%2f", "amqp://rabbit:5672/%2f"),
            ("amqps://rabbit/%2f#secret", "amqps://rabbit/%2f"),
            (
                "amqp://a:secret@one/v,amqp://b:secret@two/v",
                "amqp://a:***@one/v,amqp://b:***@two/v",
            ),
            ("amqp://one,amqp://two", "amqp://one,amqp://two"),
            (
                "amqp://a:secret,amqp://b:x@two/v",
                "amqp://…,amqp://b:***@two/v",
            ),
            ("amqp://a:sec,ret@two/v", "amqp://a:***@two/v"),
            (
                "redis+sentinel://me:secret@one:1,two/main/2?sentinel-password=secret",
                "redis+sentinel://me:***@one:1,two/main/2",
            ),
            ("secret", "…"),
        ] {
            assert_eq!(masked(url), shown, "{url}");
        }
    }
}
