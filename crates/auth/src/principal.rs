//! Principals: the owners of keys, and the callers that they may act for.

use std::fmt;

use drumline_protocol::{Fence, OperationId, Organization, Timestamp};

use crate::key::InvalidKey;
use crate::oidc::BadToken;
use crate::permission::{Permission, Permissions, Role};
use crate::run_token::Run;

/// The organizations that a principal may act in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Organizations {
    /// Any.
    All,
    /// These, at least one.
    Only(Vec<Organization>),
}

impl Organizations {
    fn contains(&self, organization: &Organization) -> bool {
        match self {
            Self::All => true,
            Self::Only(some) => some.contains(organization),
        }
    }
}

/// The proof by which a principal is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// An API key.
    Key,
    /// A user that the broker has authenticated.
    BrokerUser,
    /// A token of the issuer that the file names.
    Token,
    /// The token of a run. It counts as long as the run holds its operation.
    Run {
        /// The operation.
        id: OperationId,
        /// The fence that the run holds it with.
        fence: Fence,
    },
}

/// The owner of a key, or a user at the broker or of an issuer, as the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The proof by which it is known.
    pub proof: Proof,
    /// The id of its key, its user at the broker, its caller, or the operation of its run.
    pub id: String,
    /// The name that its operations are owned by.
    pub caller: String,
    /// The organizations that it may act in.
    pub organizations: Organizations,
    /// Its roles.
    pub roles: Vec<Role>,
    /// True for a gateway, which authenticates others and names them in headers.
    pub may_act_for: bool,
    /// The time after which its key or token is refused.
    pub expires: Option<Timestamp>,
    /// The beginnings of the names of the queues that its answers may be sent to.
    pub reply_to: Vec<String>,
}

/// The organization and the caller of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActsAs {
    /// The tenant.
    pub organization: Organization,
    /// The caller within the tenant.
    pub caller: String,
}

impl Principal {
    /// The principal of a run. The store has to be asked whether the run still holds
    /// its operation.
    pub(crate) fn of_run(run: Run) -> Self {
        Self {
            proof: Proof::Run {
                id: run.id,
                fence: run.fence,
            },
            id: run.id.to_string(),
            caller: run.caller,
            organizations: Organizations::Only(vec![run.organization]),
            roles: Vec::new(),
            may_act_for: false,
            expires: None,
            reply_to: Vec::new(),
        }
    }

    /// The permissions of all its roles together.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        if matches!(self.proof, Proof::Run { .. }) {
            return Permissions::RUN;
        }
        let roles = self.roles.iter().map(|role| role.permissions());
        roles.fold(Permissions::default(), Permissions::and)
    }

    /// Chooses the organization and the caller of a request that names these, or
    /// none.
    ///
    /// # Errors
    /// When the principal may not act in the organization or for the caller; or has
    /// several organizations and the request names none.
    pub fn act_as(
        &self,
        organization: Option<Organization>,
        caller: Option<String>,
    ) -> Result<ActsAs, Forbidden> {
        let who = || self.to_string();
        let organization = match (organization, &self.organizations) {
            (Some(named), allowed) if allowed.contains(&named) => named,
            (Some(named), Organizations::All | Organizations::Only(_)) => {
                return Err(Forbidden::Organization { who: who(), named });
            }
            (None, Organizations::All) => Organization::default(),
            (None, Organizations::Only(only)) => match only.as_slice() {
                [one] => one.clone(),
                _ => return Err(Forbidden::NoOrganization { who: who() }),
            },
        };
        let caller = match caller {
            Some(named) if named == self.caller || self.may_act_for => named,
            Some(named) => return Err(Forbidden::Caller { who: who(), named }),
            None => self.caller.clone(),
        };
        Ok(ActsAs {
            organization,
            caller,
        })
    }

    /// Refuses what needs a permission that the principal does not have.
    ///
    /// # Errors
    /// When it does not have it.
    pub fn require(&self, permission: Permission) -> Result<(), Forbidden> {
        if self.permissions().contains(permission) {
            return Ok(());
        }
        if matches!(self.proof, Proof::Run { .. }) {
            return Err(Forbidden::Run);
        }
        let roles = self.roles.iter().map(|role| role.name());
        let having = Role::ALL
            .into_iter()
            .find(|role| role.permissions().contains(permission));
        Err(Forbidden::Role {
            who: self.to_string(),
            roles: roles.collect::<Vec<_>>().join(", "),
            needed: having.unwrap_or(Role::Admin),
        })
    }

    /// The operation that must be the parent of all that the principal creates, if
    /// it is a run.
    #[must_use]
    pub const fn parent(&self) -> Option<OperationId> {
        match self.proof {
            Proof::Run { id, .. } => Some(id),
            Proof::Key | Proof::BrokerUser | Proof::Token => None,
        }
    }

    /// Refuses an answer to a queue that is not the principal's: the service may
    /// publish to queues that the principal may not.
    ///
    /// # Errors
    /// When the file does not have a beginning of the name.
    pub fn require_reply_to(&self, queue: &str) -> Result<(), Forbidden> {
        let mut own = self.reply_to.iter();
        if own.any(|prefix| queue.starts_with(prefix.as_str())) {
            return Ok(());
        }
        let who = self.to_string();
        Err(Forbidden::ReplyTo { who })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.proof {
            Proof::Key => write!(f, "the key {}", self.id),
            // The names of users at a server are in no message.
            Proof::BrokerUser => f.write_str("this user of the broker"),
            Proof::Token => f.write_str("this user of the issuer"),
            Proof::Run { id, .. } => write!(f, "the run of {id}"),
        }
    }
}

/// A request without a valid key. The text names no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It has no key.
    #[error("an API key is needed: send `Authorization: Bearer drl_…`")]
    Missing,
    /// It has something else.
    #[error(transparent)]
    Invalid(#[from] InvalidKey),
    /// The file does not have the key, or not any more.
    #[error("the API key {id} is not known here, or was revoked or replaced")]
    Unknown {
        /// The id of the key.
        id: String,
    },
    /// It has a session of a browser that is over, or was never made here.
    #[error("the session is over: sign in again")]
    Session,
    /// The key is too old.
    #[error("the API key {id} expired at {at}")]
    Expired {
        /// The id of the key.
        id: String,
        /// The time since which it is refused.
        at: Timestamp,
    },
    /// It has a run token that this service has not made.
    #[error(
        "this run token is not known here: it was cut, or signed with a secret that is not in use"
    )]
    RunToken,
    /// The run of its token does not hold its operation any more.
    #[error("the run of this token has ended: it does not hold its operation any more")]
    RunEnded,
    /// It comes back from an issuer, and this browser has begun no such sign-in.
    #[error(
        "this sign-in has not begun in this browser, or took longer than ten minutes: begin again, at the address of \
         the console that the issuer leads back to"
    )]
    SignIn,
    /// The cookie of a session would be too large for browsers.
    #[error(
        "the token names so many organizations that no browser keeps them: have the issuer name fewer"
    )]
    TooManyOrganizations,
    /// It has a token of an issuer that does not hold.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The keys of the issuer have not been read since the start, so its tokens cannot be
    /// verified.
    #[error(
        "the issuer of this token has not answered since this service has started, so the token cannot be verified: try \
         again, or use an API key"
    )]
    IssuerUnavailable,
    /// The file maps none of the groups in the token to a role.
    #[error(
        "the claim {claim} of this token has no group that has a role here: have yourself added to one, or have an \
         operator add a group to `map` under [oidc] in the file with the keys"
    )]
    NoRole {
        /// The claim with the groups.
        claim: String,
    },
    /// The token names no organization.
    #[error(
        "the claim {claim} of this token names no organization: have the issuer add it, or an operator name \
         `organizations` under [oidc] in the file with the keys"
    )]
    NoOrganization {
        /// The claim with the organizations.
        claim: String,
    },
    /// It came through the broker, without the user that has sent it.
    #[error("the message needs the property user_id: the user of the connection that publishes it")]
    NoUser,
    /// The file does not have the user at the broker.
    #[error("the user of the broker that published this has no entry [[amqp]] here")]
    UnknownUser,
}

/// A request that its principal may not make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// None of its roles allows it.
    #[error("{who} has the roles {roles}; this needs {needed}")]
    Role {
        /// The principal.
        who: String,
        /// Its roles.
        roles: String,
        /// The least role that allows it.
        needed: Role,
    },
    /// It may not act in the organization.
    #[error("{who} may not act in the organization {}", .named.0)]
    Organization {
        /// The principal.
        who: String,
        /// The organization.
        named: Organization,
    },
    /// It has to choose.
    #[error("{who} is for several organizations: name one in Drumline-Organization")]
    NoOrganization {
        /// The principal.
        who: String,
    },
    /// It may not act for the caller.
    #[error(
        "{who} may not act for the caller {named}: leave Drumline-Caller out, or set may_act_for"
    )]
    Caller {
        /// The principal.
        who: String,
        /// The caller.
        named: String,
    },
    /// It is a run, and not of this kind.
    #[error(
        "a run token may read its organization and create children of its operation, and nothing else"
    )]
    Run,
    /// Its answers may not go to the queue.
    #[error(
        "{who} may not have answers sent to this queue: use amq.rabbitmq.reply-to, or a queue that its reply_to in \
         the file allows"
    )]
    ReplyTo {
        /// The principal.
        who: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(organizations: Organizations, may_act_for: bool) -> Principal {
        Principal {
            proof: Proof::Key,
            id: "k7f3q2ab".to_owned(),
            caller: "orders".to_owned(),
            organizations,
            roles: vec![Role::Producer],
            may_act_for,
            expires: None,
            reply_to: Vec::new(),
        }
    }

    const WHO: &str = "the key k7f3q2ab";

    fn named(name: &str) -> Organization {
        Organization(name.to_owned())
    }

    #[test]
    fn the_header_only_selects_among_the_allowed_ones() {
        let one = principal(Organizations::Only(vec![named("contoso")]), false);
        assert_eq!(
            one.act_as(None, None).unwrap().organization,
            named("contoso")
        );
        assert_eq!(
            one.act_as(Some(named("fabrikam")), None),
            Err(Forbidden::Organization {
                who: WHO.to_owned(),
                named: named("fabrikam")
            })
        );
        let two = Organizations::Only(vec![named("contoso"), named("fabrikam")]);
        let two = principal(two, false);
        let undecided = Forbidden::NoOrganization {
            who: WHO.to_owned(),
        };
        assert_eq!(two.act_as(None, None), Err(undecided));
        let chosen = two.act_as(Some(named("fabrikam")), None).unwrap();
        assert_eq!(chosen.organization, named("fabrikam"));
        let all = principal(Organizations::All, false);
        assert_eq!(
            all.act_as(None, None).unwrap().organization,
            Organization::default()
        );
        assert!(all.act_as(Some(named("anyone")), None).is_ok());
    }

    #[test]
    fn only_a_gateway_acts_for_others() {
        let own = principal(Organizations::All, false);
        assert_eq!(own.act_as(None, None).unwrap().caller, "orders");
        assert!(own.act_as(None, Some("orders".to_owned())).is_ok());
        assert_eq!(
            own.act_as(None, Some("root".to_owned())),
            Err(Forbidden::Caller {
                who: WHO.to_owned(),
                named: "root".to_owned()
            })
        );
        let gateway = principal(Organizations::All, true);
        assert_eq!(
            gateway.act_as(None, Some("jo".to_owned())).unwrap().caller,
            "jo"
        );
    }

    #[test]
    fn answers_go_to_own_queues_only() {
        let user = Principal {
            proof: Proof::BrokerUser,
            reply_to: vec!["orders.answers".to_owned()],
            ..principal(Organizations::All, false)
        };
        assert!(user.require_reply_to("orders.answers.7").is_ok());
        for other in ["", "orders", "billing.commands", "x.orders.answers"] {
            let refused = user.require_reply_to(other).unwrap_err();
            assert!(!refused.to_string().contains("k7f3q2ab"), "{refused}");
        }
    }

    #[test]
    fn what_no_role_allows_is_refused_with_the_least_role_that_does() {
        let producer = principal(Organizations::All, false);
        assert!(producer.require(Permission::Create).is_ok());
        let refused = producer.require(Permission::Operate).unwrap_err();
        assert!(matches!(
            refused,
            Forbidden::Role {
                needed: Role::Operator,
                ..
            }
        ));
    }
}
