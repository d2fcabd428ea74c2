//! A solution's version: four numbers, compared from the left.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `major.minor.build.revision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Version(pub(crate) [u32; 4]);

/// The text is not a version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version: four numbers with dots between them")]
pub(crate) struct NotAVersion(String);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, build, revision] = self.0;
        write!(f, "{major}.{minor}.{build}.{revision}")
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
        numbers
            .and_then(|numbers| numbers.try_into().ok())
            .map(Self)
            .ok_or_else(|| NotAVersion(text.to_owned()))
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let old: Version = "1.9.0.0".parse().unwrap();
        let new: Version = "1.10.0.0".parse().unwrap();
        assert!(old < new);
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        for text in [
            "",
            "1",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.x",
            "1..2.3",
            "-1.0.0.0",
        ] {
            assert_eq!(
                text.parse::<Version>(),
                Err(NotAVersion(text.to_owned())),
                "{text}"
            );
        }
    }
}
