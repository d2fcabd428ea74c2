//! The index of docs/errors, written from [`ErrorCode::ALL`].

use std::fmt::Write as _;

use crate::error_code::ErrorCode;

/// Returns the table of all error codes, ordered by number.
#[must_use]
pub fn part() -> String {
    let mut codes = ErrorCode::ALL.to_vec();
    codes.sort_unstable_by_key(|code| code.0);
    let mut text = "| code | name and page | meaning |\n|---|---|---|\n".to_owned();
    for code in codes {
        let name = code.name().unwrap_or_default();
        let meaning = code.meaning().unwrap_or_default();
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "| `{code}` | [{name}]({name}.md) | {meaning} |");
    }
    super::part("error codes", &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_codes_of_the_code() {
        let page = include_str!("../../../../docs/errors/README.md");
        let part = part();
        assert_eq!(part.matches("\n| `0x").count(), ErrorCode::ALL.len());
        assert!(
            page.contains(&part),
            "docs/errors/README.md is not what the code says: run `make docs` and commit it"
        );
    }

    #[test]
    fn every_code_has_a_meaning() {
        for code in ErrorCode::ALL {
            assert!(
                code.meaning().is_some_and(|text| text.ends_with('.')),
                "{code:?}"
            );
        }
    }
}
