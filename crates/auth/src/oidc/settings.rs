//! `[oidc]` in the file, checked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::{Oidc, Tenancy};
use crate::file;
use crate::permission::Role;

/// The most groups that the file may map.
const GROUPS: usize = 1024;

/// The table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcEntry {
    issuer: String,
    audience: String,
    #[serde(default = "roles_claim")]
    roles_claim: String,
    #[serde(default = "caller_claim")]
    caller_claim: String,
    map: BTreeMap<String, Role>,
    organizations_claim: Option<String>,
    organizations: Option<Vec<String>>,
}

fn roles_claim() -> String {
    "groups".to_owned()
}

fn caller_claim() -> String {
    "sub".to_owned()
}

impl OidcEntry {
    /// Checks the values.
    ///
    /// # Errors
    /// With the rule that one of them breaks.
    pub(crate) fn checked(self) -> Result<Oidc, String> {
        if !is_safe_address(&self.issuer) || self.issuer.contains(['?', '#']) {
            return Err(
                "issuer must be an https address without a query, as the tokens have it in `iss`; \
                 http is for this machine only"
                    .to_owned(),
            );
        }
        if self.map.is_empty() || self.map.len() > GROUPS {
            return Err(format!(
                "map must name a role for 1 to {GROUPS} groups, such as {{ \"job-admins\" = \"operator\" }}"
            ));
        }
        let organizations = match (self.organizations_claim, self.organizations) {
            (Some(claim), None) => Tenancy::Claim(file::name("organizations_claim", claim)?),
            (None, Some(fixed)) => Tenancy::Fixed(file::organizations(fixed)?),
            (None, None) | (Some(_), Some(_)) => {
                return Err(
                    "name either organizations_claim, the claim that has them, or organizations, for all alike"
                        .to_owned(),
                );
            }
        };
        Ok(Oidc {
            issuer: self.issuer,
            audience: file::name("audience", self.audience)?,
            roles_claim: file::name("roles_claim", self.roles_claim)?,
            caller_claim: file::name("caller_claim", self.caller_claim)?,
            map: self.map,
            organizations,
        })
    }
}

/// Returns true for an address that may be asked about who a person is: `https`, or this
/// machine. It has no user and no characters that readers of addresses disagree about.
#[must_use]
pub fn is_safe_address(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'@');
    if !text.bytes().all(is_plain) {
        return false;
    }
    let authority = |rest: &str| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default().to_owned()
    };
    if let Some(rest) = text.strip_prefix("https://") {
        return !authority(rest).is_empty();
    }
    let Some(rest) = text.strip_prefix("http://") else {
        return false;
    };
    let authority = authority(rest);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority
            .split_once(':')
            .map_or(authority.as_str(), |(host, _)| host),
    };
    let address: Result<IpAddr, _> = host.parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
