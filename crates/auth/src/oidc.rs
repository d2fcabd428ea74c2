//! Tokens of an issuer of OpenID Connect: who signed them, and what their owner may do.
//!
//! ```text
//! [oidc] in auth.toml ─→ Oidc ──────────────────┐
//! keys that the issuer publishes ─→ KeySet ─────┼─ principal ─→ Principal, or why not
//! Authorization: Bearer eyJ… ───────────────────┘
//! ```
//!
//! The issuer says who a person is and which groups the person is in. The file says
//! which groups have which role, and nothing that a token claims adds to that. A person
//! without a role is refused.
//!
//! Nothing here asks the issuer: its owner fetches the keys, and hands them to
//! [`Authenticator::publish`](crate::Authenticator::publish).

mod key_set;
mod settings;
mod sign_in;
mod signature;
mod token;

pub use key_set::KeySet;
pub use settings::is_safe_address;
pub(crate) use settings::{OidcEntry, Secrets};
pub(crate) use sign_in::is_session;
pub use sign_in::{Begun, Flow, SignIn};
pub use token::BadToken;

use std::collections::BTreeMap;

use drumline_protocol::{Organization, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::file::is_name;
use crate::permission::Role;
use crate::principal::{Denied, Organizations, Principal, Proof};

/// The issuer whose tokens count, and what their owners may do: `[oidc]` in the file.
#[derive(Clone, Debug)]
pub struct Oidc {
    issuer: String,
    audience: String,
    roles_claim: String,
    caller_claim: String,
    map: BTreeMap<String, Role>,
    organizations: Tenancy,
    /// The sign-in to the console; `None`: by keys alone.
    console: Option<SignIn>,
}

/// The claims of the issuer about the owner of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Person {
    caller: String,
    groups: Vec<String>,
    /// The organizations that the claim names, if a claim does.
    organizations: Vec<String>,
}

/// The organizations of the owners of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tenancy {
    /// Those that a claim of the token names.
    Claim(String),
    /// The same for all.
    Fixed(Organizations),
}

impl Tenancy {
    /// The claim with the organizations, if they are in one.
    fn claim(&self) -> Option<&str> {
        match self {
            Self::Claim(name) => Some(name),
            Self::Fixed(_) => None,
        }
    }
}

impl Oidc {
    /// The address that identifies the issuer, in exactly the characters of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Finds the owner of a token.
    ///
    /// # Errors
    /// When the token does not hold, or its owner has no role or no organization here.
    pub fn principal(
        &self,
        token: &str,
        keys: &KeySet,
        now: Timestamp,
    ) -> Result<Principal, Denied> {
        let token = token::verify(token, keys, &self.issuer, &self.audience, now)?;
        self.owner(&token.claims, token.expires)
    }

    /// The owner that the claims of a verified token describe.
    fn owner(&self, claims: &Map<String, Value>, expires: Timestamp) -> Result<Principal, Denied> {
        self.principal_of(&self.person(claims)?, expires)
    }

    fn person(&self, claims: &Map<String, Value>) -> Result<Person, BadToken> {
        let caller = claim(claims, &self.caller_claim).and_then(Value::as_str);
        let caller = caller.filter(|name| is_name(name));
        let caller = caller.ok_or_else(|| BadToken::Caller {
            claim: self.caller_claim.clone(),
        })?;
        let owned = |name: &str| {
            let texts = texts(claim(claims, name)).into_iter();
            texts.map(str::to_owned).collect()
        };
        Ok(Person {
            caller: caller.to_owned(),
            groups: owned(&self.roles_claim),
            organizations: self.organizations.claim().map(owned).unwrap_or_default(),
        })
    }

    /// The rights of a person, as the file says now.
    fn principal_of(&self, person: &Person, expires: Timestamp) -> Result<Principal, Denied> {
        let groups = person.groups.iter();
        let mut roles: Vec<Role> = groups
            .filter_map(|group| self.map.get(group).copied())
            .collect();
        roles.sort_by_key(|role| Role::ALL.iter().position(|one| one == role));
        roles.dedup();
        if roles.is_empty() {
            return Err(Denied::NoRole {
                claim: self.roles_claim.clone(),
            });
        }
        Ok(Principal {
            proof: Proof::Token,
            id: person.caller.clone(),
            caller: person.caller.clone(),
            organizations: self.organizations_of(person)?,
            roles,
            may_act_for: false,
            expires: Some(expires),
            reply_to: Vec::new(),
        })
    }

    fn organizations_of(&self, person: &Person) -> Result<Organizations, Denied> {
        let claim = match &self.organizations {
            Tenancy::Fixed(organizations) => return Ok(organizations.clone()),
            Tenancy::Claim(claim) => claim,
        };
        // A token names organizations, and never all of them: the issuer's `*` is a
        // name as any other, and no organization has it.
        let named = person.organizations.iter();
        let named = named.filter(|text| is_name(text) && *text != "*");
        let named: Vec<_> = named.cloned().map(Organization).collect();
        if named.is_empty() {
            return Err(Denied::NoOrganization {
                claim: claim.clone(),
            });
        }
        Ok(Organizations::Only(named))
    }
}

/// Returns true if a text claims to be a token of an issuer: three parts, of which the
/// first is a JSON object.
pub(crate) fn is_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Checks what can be checked without the keys of the issuer.
///
/// # Errors
/// When the token is too long, or names a signature that does not count.
pub(crate) fn check_form(token: &str) -> Result<(), BadToken> {
    token::header(token).map(drop)
}

/// A claim by its name, or by its place: `realm_access.roles` is the member `roles` of
/// the object `realm_access`, unless a claim has the whole name.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// The texts of a claim that is one text, or a list of them.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests;
