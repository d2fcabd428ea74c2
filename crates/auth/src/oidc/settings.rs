//! `[oidc]` in the file, checked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::{Oidc, SignIn, Tenancy};
use crate::file;
use crate::permission::Role;

/// The most groups that the file may map.
const GROUPS: usize = 1024;
/// The place of the console at which a person comes back from the issuer.
const CALLBACK: &str = "/login/callback";
/// The least characters of a secret that seals sessions, and the most such secrets: the
/// new one and the old ones while it is replaced.
const SECRET_CHARS: usize = 32;
const SECRETS: usize = 4;

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
    console: Option<ConsoleEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsoleEntry {
    client_id: String,
    redirect_url: String,
    session_key_file: String,
    client_secret_file: Option<String>,
    #[serde(default = "scope")]
    scope: String,
}

fn scope() -> String {
    "openid".to_owned()
}

fn roles_claim() -> String {
    "groups".to_owned()
}

fn caller_claim() -> String {
    "sub".to_owned()
}

impl OidcEntry {
    /// The files with secrets that the table names.
    pub(crate) fn files(&self) -> Vec<String> {
        let console = self.console.iter();
        let files = console.flat_map(|console| {
            let secret = console.client_secret_file.clone();
            secret.into_iter().chain([console.session_key_file.clone()])
        });
        files.collect()
    }

    /// Checks the values. Without the contents of the files that it names, no person signs
    /// in.
    ///
    /// # Errors
    /// With the rule that one of them breaks.
    pub(crate) fn checked(self, secrets: Option<&Secrets>) -> Result<Oidc, String> {
        // A token of identity has the client as its audience, and would pass as a token
        // of access: it tells who a person is, and gives no right.
        if let Some(console) = &self.console
            && console.client_id == self.audience
        {
            return Err(
                "console.client_id is the same as audience: a token of identity of the console would count as a token of \
                 access; have the issuer give tokens of access an audience of their own, and name that as audience"
                    .to_owned(),
            );
        }
        let console = self.console.map(|console| console.checked(secrets));
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
            console: console.transpose()?.flatten(),
        })
    }
}

/// The contents of files, by the names that the table gives them.
pub(crate) type Secrets = BTreeMap<String, String>;

impl ConsoleEntry {
    fn checked(self, secrets: Option<&Secrets>) -> Result<Option<SignIn>, String> {
        let is_back = is_safe_address(&self.redirect_url)
            && self.redirect_url.ends_with(CALLBACK)
            && !self.redirect_url.contains(['?', '#']);
        if !is_back {
            return Err(format!(
                "console.redirect_url must be the https address of the console with {CALLBACK} behind it; http is for \
                 this machine only"
            ));
        }
        let client_id = file::name("console.client_id", self.client_id)?;
        let scope = file::name("console.scope", self.scope)?;
        if !scope.split(' ').any(|one| one == "openid") {
            return Err("console.scope must have \"openid\"".to_owned());
        }
        let Some(secrets) = secrets else {
            return Ok(None);
        };
        let lines = |name: &str| -> Vec<String> {
            let lines = secrets.get(name).into_iter().flat_map(|text| text.lines());
            let lines = lines.map(str::trim);
            lines
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect()
        };
        let session_keys = lines(&self.session_key_file);
        let is_long = session_keys.iter().all(|key| key.len() >= SECRET_CHARS);
        if !(1..=SECRETS).contains(&session_keys.len()) || !is_long {
            return Err(format!(
                "console.session_key_file must have 1 to {SECRETS} lines of at least {SECRET_CHARS} characters each: \
                 openssl rand -hex 32"
            ));
        }
        let client_secret = match self.client_secret_file.as_deref().map(lines) {
            None => None,
            Some(secrets) => match <[String; 1]>::try_from(secrets) {
                Ok([secret]) => Some(secret),
                Err(_other) => {
                    return Err("console.client_secret_file must have one line".to_owned());
                }
            },
        };
        Ok(Some(SignIn {
            client_id,
            client_secret,
            redirect_url: self.redirect_url,
            scope,
            session_keys,
        }))
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
