//! Tables without lines around them: they can be read, cut and pasted.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

/// On a narrower terminal, or one that does not know its width, broken cells
/// would be harder to read than broken lines.
const NARROW: u16 = 60;

/// An empty table with these headings.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !headings.is_empty() {
        table.set_header(headings.iter().copied());
    }
    table
}

/// The text of a table, as wide as the terminal at most, without blanks at the
/// ends of lines. The first column, which holds names, is never broken.
pub(crate) fn text(mut table: Table) -> String {
    let narrow = table.width().is_none_or(|width| width < NARROW);
    table.set_content_arrangement(if narrow {
        ContentArrangement::Disabled
    } else {
        ContentArrangement::Dynamic
    });
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_whole_and_lines_end_without_blanks() {
        let mut rows = table(&["ID", "NOTE"]);
        rows.set_width(70);
        let id = "01a1f9dc-5cfa-7c36-80ec-5fc7104f4284";
        rows.add_row([id, &"word ".repeat(20)]);
        let text = text(rows);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() > 2, "{text}");
        assert!(lines[1].starts_with(id), "{text}");
        assert!(lines.iter().all(|line| line.trim_end() == *line), "{text}");
    }
}
