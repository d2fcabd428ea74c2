//! Pages that are tables: queues, workers, tokens, series, failures, settings.

use askama::Template;
use drumline_protocol::Timestamp;

use crate::chart::Chart;
use crate::frame::Frame;
use crate::operations::View;
use crate::text::Text;
use crate::time::{Moment, exact};
use crate::words::Badge;

/// One cell.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// The text.
    pub text: Text,
    /// The address that the text leads to.
    pub address: Option<String>,
    /// A time instead of the text.
    pub moment: Option<Moment>,
    /// A status before the text.
    pub badge: Option<Badge>,
    /// A line below the text.
    pub note: Option<Text>,
    /// Bars above the text.
    pub chart: Option<Chart>,
    /// Times by some clock, in words, below the text.
    pub times: Vec<(Timestamp, Text)>,
    /// The things that can be done about the row: labels and addresses.
    pub actions: Vec<(&'static str, String)>,
}

impl Cell {
    /// A text.
    #[must_use]
    pub fn text(text: impl Into<Text>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// A text that leads to an address.
    #[must_use]
    pub fn link(text: impl Into<Text>, address: impl Into<String>) -> Self {
        Self {
            address: Some(address.into()),
            ..Self::text(text)
        }
    }

    /// A time.
    #[must_use]
    pub fn moment(moment: Moment) -> Self {
        Self {
            moment: Some(moment),
            ..Self::default()
        }
    }

    /// A status.
    #[must_use]
    pub fn badge(badge: Badge) -> Self {
        Self {
            badge: Some(badge),
            ..Self::default()
        }
    }

    /// The summary of a chart, with its bars above.
    #[must_use]
    pub fn chart(chart: Chart) -> Self {
        Self {
            text: chart.summary.clone(),
            chart: Some(chart),
            ..Self::default()
        }
    }

    /// The things that can be done about the row: labels and addresses.
    #[must_use]
    pub fn actions(actions: Vec<(&'static str, String)>) -> Self {
        Self {
            actions,
            ..Self::default()
        }
    }

    /// A time to the second, in UTC.
    #[must_use]
    pub fn exact(&self, at: &Timestamp) -> String {
        exact(*at)
    }

    /// Returns true if there is nothing to see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let has_more = !self.actions.is_empty() || !self.times.is_empty();
        self.text.is_empty() && self.badge.is_none() && !has_more
    }

    /// Times by some clock, in words.
    #[must_use]
    pub fn times(times: Vec<(Timestamp, Text)>) -> Self {
        Self {
            times,
            ..Self::default()
        }
    }

    /// The same cell with a line below its text.
    #[must_use]
    pub fn with_note(self, note: impl Into<Text>) -> Self {
        Self {
            note: Some(note.into()),
            ..self
        }
    }
}

/// One table.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// The heading.
    pub title: &'static str,
    /// Sentences above the table.
    pub intro: Vec<Text>,
    /// The headings of the columns.
    pub columns: Vec<&'static str>,
    /// The rows; the first cell of each is its heading.
    pub rows: Vec<Vec<Cell>>,
    /// The sentence in place of a table without rows.
    pub empty: &'static str,
    /// Other orders of the table.
    pub orders: Vec<View>,
    /// Links below the table.
    pub links: Vec<(Text, String)>,
    /// True for a table that is shown when its heading is opened.
    pub is_folded: bool,
    /// The class with the widths of its columns, for a table of many rows; empty for columns
    /// that are as wide as their texts.
    pub class: &'static str,
}

impl Sheet {
    /// The sentence in place of a table without rows.
    #[must_use]
    pub fn nothing(&self) -> Text {
        Text::line(self.empty)
    }

    /// The cells of a row but the first, with the headings of their columns.
    #[must_use]
    pub fn cells<'a>(&'a self, row: &'a [Cell]) -> Vec<(&'static str, &'a Cell)> {
        let columns = self.columns.iter().copied().skip(1);
        columns.zip(row.iter().skip(1)).collect()
    }
}

/// A field that leads to another view of the page.
#[derive(Clone, Debug)]
pub struct Search {
    /// The address that the form leads to.
    pub address: &'static str,
    /// The label.
    pub label: &'static str,
    /// The name of the parameter.
    pub name: &'static str,
    /// The value as it was given.
    pub value: String,
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "sheet.html")]
pub struct SheetPage {
    /// The frame.
    pub frame: Frame,
    /// Sentences below the heading.
    pub lead: Vec<Text>,
    /// A field that leads to another view.
    pub search: Option<Search>,
    /// The tables.
    pub sheets: Vec<Sheet>,
}
