//! The files behind the pages: one style sheet and one script; and the icon, which stands in
//! the address itself.
//!
//! Their names contain a hash of their content, so browsers keep them for good. An
//! earlier or later name is answered with the present file: during an upgrade, the
//! page may come from another manager than its style sheet.

use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// A file.
#[derive(Debug)]
pub struct Asset {
    /// The part of the name before the hash.
    stem: &'static str,
    /// The part of the name behind it.
    extension: &'static str,
    /// The media type.
    pub media_type: &'static str,
    /// The content.
    pub content: &'static str,
    /// The name with the hash.
    pub name: String,
}

static ASSETS: LazyLock<[Asset; 2]> = LazyLock::new(|| {
    [
        Asset::new(
            "console",
            "css",
            "text/css; charset=utf-8",
            include_str!("../assets/console.css"),
        ),
        Asset::new(
            "console",
            "js",
            "text/javascript; charset=utf-8",
            include_str!("../assets/console.js"),
        ),
    ]
});

impl Asset {
    fn new(
        stem: &'static str,
        extension: &'static str,
        media_type: &'static str,
        content: &'static str,
    ) -> Self {
        let mut hash = String::new();
        for byte in Sha256::digest(content.as_bytes()).iter().take(6) {
            // A string takes every text.
            let _always = write!(hash, "{byte:02x}");
        }
        Self {
            stem,
            extension,
            media_type,
            content,
            name: format!("{stem}-{hash}.{extension}"),
        }
    }

    /// Finds the file for a name with any hash.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| {
            let rest = name.strip_prefix(asset.stem);
            let rest = rest.and_then(|rest| rest.strip_suffix(asset.extension));
            let hash = rest.and_then(|rest| rest.strip_prefix('-')?.strip_suffix('.'));
            hash.is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        })
    }
}

fn address_of(stem: &str, extension: &str) -> String {
    let mut assets = ASSETS.iter();
    let asset = assets.find(|asset| asset.stem == stem && asset.extension == extension);
    asset.map_or_else(String::new, |asset| format!("/assets/{}", asset.name))
}

/// The addresses that a page names.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) icon: String,
}

pub(crate) static ADDRESSES: LazyLock<Addresses> = LazyLock::new(|| Addresses {
    style: address_of("console", "css"),
    script: address_of("console", "js"),
    icon: format!("data:image/svg+xml,{}", encoded(ICON.trim_end())),
});

/// The icon. It is so small that a request for it would cost a first visit more.
const ICON: &str = include_str!("../assets/icon.svg");

/// A text as a part of an address, in which no byte has a meaning of its own.
fn encoded(text: &str) -> String {
    let mut address = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/=".contains(&byte) {
            address.push(char::from(byte));
        } else {
            // A string takes every text.
            let _always = write!(address, "%{byte:02X}");
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_its_own_name_and_by_that_of_another_release() {
        for asset in ASSETS.iter() {
            assert_eq!(Asset::find(&asset.name).unwrap().name, asset.name);
        }
        let other = Asset::find("console-0123456789ab.css").unwrap();
        assert_eq!(other.media_type, "text/css; charset=utf-8");
        for none in [
            "console.css",
            "console-xyz.css",
            "icon-00.css",
            "../Cargo.toml",
        ] {
            assert!(Asset::find(none).is_none(), "{none}");
        }
    }

    #[test]
    fn no_file_names_a_foreign_address() {
        for asset in ASSETS.iter() {
            assert!(!asset.content.contains("://"), "{}", asset.name);
            assert!(!asset.content.contains("@import"), "{}", asset.name);
        }
    }

    #[test]
    fn the_icon_needs_no_request() {
        let icon = &ADDRESSES.icon;
        assert!(
            icon.starts_with("data:image/svg+xml,%3Csvg%20xmlns=%22"),
            "{icon}"
        );
        assert!(icon.ends_with("%3C/svg%3E"), "{icon}");
        // It is on every page.
        assert!(icon.len() <= 512, "{}", icon.len());
    }

    #[test]
    fn the_files_are_small() {
        // Gzip takes some three quarters off.
        for asset in ASSETS.iter() {
            assert!(asset.content.len() <= 48 << 10, "{}", asset.name);
        }
    }
}
