//! The frame around every page: who looks, at what, and the way to other pages.

use drumline_protocol::Timestamp;

use crate::assets::ADDRESSES;
use crate::text::Text;
use crate::time::Moment;

/// A page of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The state of the service.
    Now,
    /// The grid of operations, and single ones.
    Operations,
    /// Tokens: those that are held, and those that wait.
    Tokens,
    /// The operations that failed, by message name and code.
    Failures,
    /// The queues.
    Queues,
    /// Workers and queue managers.
    Workers,
    /// The pauses of queues, message names, tokens and the organization.
    Pauses,
    /// Actions on many operations.
    Actions,
    /// The operations that recur.
    Series,
    /// The audit: who has asked for which change.
    Audit,
    /// The settings of the process that answers.
    Settings,
    /// Another page.
    Other,
}

impl Section {
    const ALL: [Self; 11] = [
        Self::Now,
        Self::Operations,
        Self::Tokens,
        Self::Failures,
        Self::Queues,
        Self::Workers,
        Self::Pauses,
        Self::Actions,
        Self::Series,
        Self::Audit,
        Self::Settings,
    ];

    const fn address(self) -> &'static str {
        match self {
            Self::Now | Self::Other => "/",
            Self::Operations => "/operations",
            Self::Tokens => "/tokens",
            Self::Failures => "/failures",
            Self::Queues => "/queues",
            Self::Workers => "/workers",
            Self::Pauses => "/pauses",
            Self::Actions => "/actions",
            Self::Series => "/series",
            Self::Audit => "/audit",
            Self::Settings => "/settings",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Now => "Now",
            Self::Operations => "Operations",
            Self::Tokens => "Tokens",
            Self::Failures => "Failures",
            Self::Queues => "Queues",
            Self::Workers => "Workers",
            Self::Pauses => "Pauses",
            Self::Actions => "Actions",
            Self::Series => "Series",
            Self::Audit => "Audit",
            Self::Settings => "Settings",
            Self::Other => "",
        }
    }

    const fn is_for(self, rights: Rights) -> bool {
        match self {
            Self::Now | Self::Other => true,
            Self::Operations
            | Self::Tokens
            | Self::Failures
            | Self::Pauses
            | Self::Actions
            | Self::Series => rights.read,
            Self::Audit => rights.operate,
            Self::Queues | Self::Workers | Self::Settings => rights.fleet,
        }
    }
}

/// The parts of the console that the caller may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Sees operations.
    pub read: bool,
    /// Changes one operation, or runs it again.
    pub control: bool,
    /// Changes many, deletes, and pauses.
    pub operate: bool,
    /// Sees workers, queues and counts of the whole service.
    pub fleet: bool,
    /// Drains workers, which are of all organizations.
    pub drain: bool,
}

impl Rights {
    /// Everything.
    pub const ALL: Self = Self {
        read: true,
        control: true,
        operate: true,
        fleet: true,
        drain: true,
    };
}

/// The caller of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The name of the caller.
    pub caller: Text,
    /// The organization that the page shows.
    pub organization: Text,
    /// True if the caller has signed in with a key, and can sign out.
    pub is_signed_in: bool,
    /// The parts that the caller may use.
    pub rights: Rights,
}

/// The frame of a page.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The title of the page.
    pub title: Text,
    /// The place in the navigation.
    pub section: Section,
    /// The caller; `None` where it is not known.
    pub viewer: Option<Viewer>,
    /// The time at which the page is made.
    pub now: Timestamp,
}

/// One entry of the navigation.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The address.
    pub address: &'static str,
    /// The word.
    pub label: &'static str,
    /// True for the page that is shown.
    pub is_here: bool,
}

impl Frame {
    /// The entries of the navigation that the caller may use.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let rights = self.rights();
        let mut entries = Vec::new();
        for section in Section::ALL {
            if section.is_for(rights) {
                entries.push(Entry {
                    address: section.address(),
                    label: section.label(),
                    is_here: section == self.section,
                });
            }
        }
        entries
    }

    /// The rights of the caller.
    #[must_use]
    pub fn rights(&self) -> Rights {
        let viewer = self.viewer.as_ref();
        viewer.map_or_else(Rights::default, |viewer| viewer.rights)
    }

    /// The time at which the page was made.
    #[must_use]
    pub fn made(&self) -> Moment {
        Moment {
            at: self.now,
            now: self.now,
        }
    }

    /// The address of the style sheet.
    #[must_use]
    pub fn style(&self) -> &'static str {
        &ADDRESSES.style
    }

    /// The address of the script.
    #[must_use]
    pub fn script(&self) -> &'static str {
        &ADDRESSES.script
    }

    /// The address of the icon, which has the icon in it.
    #[must_use]
    pub fn icon(&self) -> &'static str {
        &ADDRESSES.icon
    }

    /// The release of this program.
    #[must_use]
    pub fn release(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}
