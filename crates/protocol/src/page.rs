//! The parts of the documentation that the code writes.
//!
//! A page keeps its hand-written text. Each part that the code writes stands
//! between two comments, which Markdown does not show:
//!
//! ```text
//! <!-- written by the code: NAME -->
//! …
//! <!-- end -->
//! ```
//!
//! `make docs` puts every part into its page, and a test beside each renderer
//! compares the two.

pub mod errors;
pub mod states;

/// Returns a part of a page, with its marks around it.
#[must_use]
pub fn part(name: &str, text: &str) -> String {
    let text = text.trim_end();
    format!("<!-- written by the code: {name} -->\n\n{text}\n\n<!-- end -->\n")
}
