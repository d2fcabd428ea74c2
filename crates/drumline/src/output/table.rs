//! Tables without lines around them: they can be read, cut and pasted.
//!
//! A row is a line. On a terminal that is too narrow, columns without content are
//! left out and long cells are cut; through a pipe everything is shown. A table
//! without headings has names and values, and long values go on below.

use std::io::{self, IsTerminal as _};

use unicode_width::UnicodeWidthStr as _;

use super::clean::clean;

/// The blanks between two columns.
const GAP: usize = 2;
/// On a narrower terminal, broken values would be harder to read than broken lines.
const NARROW: usize = 60;
/// The narrowest that a column is cut to.
const SHORTEST: usize = 4;

/// A table. All cells are [cleaned](clean).
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
    /// The columns of the terminal; `None` for a pipe.
    width: Option<usize>,
}

/// An empty table with these headings.
pub(crate) fn table(headings: &[&str]) -> Table {
    Table {
        headings: headings.iter().map(ToString::to_string).collect(),
        rows: Vec::new(),
        right: Vec::new(),
        width: terminal(),
    }
}

/// The columns of the terminal on standard output, if there is one.
fn terminal() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&out).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

impl Table {
    /// Adds a row.
    pub(crate) fn add_row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let cells = cells.into_iter().map(|cell| clean(cell.as_ref()));
        self.rows.push(cells.collect());
    }

    /// Aligns a column at its right.
    pub(crate) fn align_right(&mut self, column: usize) {
        self.right.push(column);
    }

    /// The text of the table, without blanks at the ends of lines. The first
    /// column, which holds names, is never cut.
    pub(crate) fn text(&self) -> String {
        let lines = if self.headings.is_empty() {
            self.values()
        } else {
            self.grid()
        };
        let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
        lines.join("\n")
    }

    fn grid(&self) -> Vec<String> {
        let all = || std::iter::once(&self.headings).chain(&self.rows);
        let columns = all().map(Vec::len).max().unwrap_or_default();
        let widest = |column: usize, rows: &mut dyn Iterator<Item = &Vec<String>>| {
            let cells = rows.filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or_default()
        };
        let mut widths: Vec<usize> = (0..columns)
            .map(|column| widest(column, &mut all()))
            .collect();
        if let Some(limit) = self.width
            && total(&widths) > limit
        {
            for (column, width) in widths.iter_mut().enumerate().skip(1) {
                if widest(column, &mut self.rows.iter()) == 0 {
                    *width = 0;
                }
            }
            shrink(&mut widths, limit);
        }
        all().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            if *width == 0 {
                continue;
            }
            let cell = cut(cell, *width);
            let blanks = " ".repeat(width.saturating_sub(cell.width()));
            if self.right.contains(&column) {
                line.push_str(&blanks);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&blanks);
            }
            line.push_str(&" ".repeat(GAP));
        }
        line
    }

    fn values(&self) -> Vec<String> {
        let names = self.rows.iter().filter_map(|row| row.first());
        let indent = names.map(|name| name.width()).max().unwrap_or_default() + GAP;
        let room = self.width.filter(|width| *width >= NARROW);
        let room = room.map_or(usize::MAX, |width| width.saturating_sub(indent));
        let mut lines = Vec::new();
        for row in &self.rows {
            let mut name = row.first().map_or("", String::as_str);
            let value = row.get(1).map_or("", String::as_str);
            for part in wrap(value, room) {
                let blanks = " ".repeat(indent.saturating_sub(name.width()));
                lines.push(format!("{name}{blanks}{part}"));
                name = "";
            }
        }
        lines
    }
}

/// The width of a line.
fn total(widths: &[usize]) -> usize {
    let shown = widths.iter().filter(|width| **width > 0);
    shown.map(|width| width + GAP).sum::<usize>() - GAP
}

/// Takes from the widest columns until the line fits.
fn shrink(widths: &mut [usize], limit: usize) {
    while total(widths) > limit {
        let widest = widths.iter_mut().skip(1).max();
        match widest {
            Some(width) if *width > SHORTEST => *width -= 1,
            Some(_) | None => return,
        }
    }
}

/// The beginning of a text that fits, with a mark if it is not all.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (begin, _) = split(text, width.saturating_sub(1));
    format!("{begin}…")
}

/// Splits a text behind the most characters that fit.
fn split(text: &str, width: usize) -> (&str, &str) {
    let mut end = 0;
    for (place, character) in text.char_indices() {
        let next = place + character.len_utf8();
        if text.get(..next).is_some_and(|begin| begin.width() > width) {
            break;
        }
        end = next;
    }
    text.split_at(end)
}

/// Breaks a text into lines that fit, between words where there are some.
fn wrap(text: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.width() > width {
        let (begin, _) = split(rest, width.max(1));
        let end = match begin.rfind(' ') {
            Some(blank) if blank > 0 => blank,
            Some(_) | None if begin.is_empty() => break,
            Some(_) | None => begin.len(),
        };
        let (line, behind) = rest.split_at(end);
        lines.push(line);
        rest = behind.trim_start();
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a1f9dc-5cfa-7c36-80ec-5fc7104f4284";

    /// Names that have moved cursors, or columns.
    const NAMES: [&str; 8] = [
        "plain",
        "\x1b[2J\x1b[31mred",
        "two\nrows",
        "\u{202e}turned\u{200f}",
        "日本語の名前",
        "👩‍👩‍👧 family",
        "שלום",
        "a name that is so long that it does not fit into any terminal that there is",
    ];

    fn list(width: Option<usize>) -> String {
        let mut rows = table(&[
            "ID", "MESSAGE", "NAME", "TOKEN", "STATUS", "CREATED", "NOTE",
        ]);
        rows.width = width;
        for name in NAMES {
            rows.add_row([
                ID,
                "ImportSolution",
                name,
                "",
                "WaitingForResources",
                "3m 2s ago",
                name,
            ]);
        }
        rows.text()
    }

    #[test]
    fn a_row_is_a_line_of_the_terminal_and_columns_stand_below_each_other() {
        for width in [80, 140] {
            let text = list(Some(width));
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), 1 + NAMES.len(), "{text}");
            let heading = lines[0].find("STATUS").expect("a heading");
            for line in &lines[1..] {
                assert!(line.width() <= width, "{line}");
                assert!(line.starts_with(ID), "{line}");
                let status = line.find("Wai").expect("a status");
                assert_eq!(line[..status].width(), heading, "{text}");
                assert!(!line.contains(['\x1b', '\u{202e}', '\u{200f}']), "{line}");
            }
            assert!(!lines[0].contains("TOKEN"), "it is empty: {text}");
        }
    }

    #[test]
    fn a_pipe_gets_everything() {
        let text = list(None);
        assert_eq!(text.lines().count(), 1 + NAMES.len(), "{text}");
        assert!(text.contains(NAMES[7]) && text.contains("TOKEN"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn long_values_go_on_below_and_names_are_kept_whole() {
        let mut rows = table(&[]);
        rows.width = Some(70);
        rows.add_row(["error message", &"word ".repeat(30)]);
        rows.add_row(["data", &"語".repeat(100)]);
        let text = rows.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() > 5, "{text}");
        assert!(lines[1].starts_with("               word"), "{text}");
        assert!(lines.iter().all(|line| line.width() <= 70), "{text}");
        assert!(lines.iter().all(|line| line.trim_end() == *line), "{text}");
    }
}
