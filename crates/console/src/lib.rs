//! The pages of the console: what they hold, as plain values, and the templates
//! that write them.
//!
//! ```text
//! queue-manager: routes ─ ask the services ─→ models (here) ─ templates/*.html ─→ HTML
//!                                               └ assets: style sheet, script, icon
//! ```
//!
//! Everything here is a plain function of its arguments: nothing awaits, nothing
//! reads a clock, nothing knows HTTP. The templates escape each value. No value is
//! exempt but those whose type is [`HtmlSafe`](askama::filters::HtmlSafe), which
//! hold no text from outside. Texts from outside are [`Text`], which shows characters
//! that have no glyph.
//!
//! The pages work without the script.

mod actions;
mod again;
pub mod assets;
mod attempts;
mod audit;
mod bulk;
mod chart;
mod confirm;
mod drain;
mod failures;
mod frame;
mod last_hour;
mod login;
mod notice;
mod now;
mod operation;
mod operations;
mod pauses;
mod sheet;
mod text;
mod time;
mod timeline;
mod words;

pub use askama::Template;

pub use actions::{ActionNumbers, ActionPage};
pub use again::RunAgainPage;
pub use assets::Asset;
pub use attempts::{AttemptLine, Printed};
pub use audit::{AuditFilter, AuditRow, AuditSheet};
pub use bulk::{BulkPage, Outcome, is_typed};
pub use chart::{Bars, Chart};
pub use confirm::{ConfirmPage, done};
pub use drain::DrainPage;
pub use failures::{FailureLine, MuteForm, MuteLine, MutePage};
pub use frame::{Frame, Rights, Section, Viewer};
pub use last_hour::{Counted, LastHour};
pub use login::LoginPage;
pub use notice::{NoticeLink, NoticePage};
pub use now::{Counts, Finding, Member, Members, NowPage, PauseLine};
pub use operation::{ActionLink, Chain, Fact, OperationPage, Related, Root, Waiting, why};
pub use operations::{Filter, Known, OperationsPage, Row, View};
pub use pauses::{LiftPage, PauseForm, PausesPage};
pub use sheet::{Cell, Search, Sheet, SheetPage};
pub use text::{Block, Text, address, bytes, encoded, number};
pub use time::{Moment, exact, span};
pub use timeline::Timeline;
pub use words::{Badge, action, bulk, bulk_title, reason};

/// Writes a page.
#[must_use]
pub fn page(page: &impl Template) -> String {
    // A template fails only if a value refuses to be written, and none does.
    page.render().unwrap_or_default()
}
