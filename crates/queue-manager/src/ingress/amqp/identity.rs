//! The identity of the sender of a message.
//!
//! The broker refuses a message whose `user_id` is not the user of the connection
//! that publishes it. So, where there are keys, every message needs that property,
//! and the file says what the user may do. Without keys, senders name themselves.
//!
//! An answer is published with the rights of this service, which may publish to
//! queues that the sender may not. So it goes to the connection of the sender, or
//! to queues that the file names as the sender's.

use std::sync::Arc;

use drumline_auth::{Denied, Permission, Principal};
use drumline_backend::intake::Envelope;

use crate::access::Access;
use crate::ingress::headers::Named;
use crate::ingress::refusal::Refusal;
use crate::service::Actor;

/// Finds the principal that has sent a message; `None`: there are no keys.
///
/// Removes a `reply_to` that no answer may go to, the answer of this refusal
/// included.
///
/// # Errors
/// When the message has no known sender, or the sender may not create.
pub(super) fn admit(
    access: &Access,
    envelope: &mut Envelope,
) -> Result<Option<Arc<Principal>>, Refusal> {
    let Some(keys) = access.keys() else {
        return Ok(None);
    };
    let user = envelope.user_id.as_deref().ok_or(Denied::NoUser);
    let principal = user.and_then(|user| keys.user(user).ok_or(Denied::UnknownUser));
    let reply_to = envelope
        .reply_to
        .take_if(|_queue| !envelope.replies_to_sender);
    let principal = principal.map_err(Refusal::Denied)?;
    if let Some(queue) = reply_to {
        principal.require_reply_to(&queue)?;
        envelope.reply_to = Some(queue);
    }
    principal.require(Permission::Create)?;
    Ok(Some(principal))
}

/// The organization and the caller of a request.
///
/// # Errors
/// When the principal may not act so.
pub(super) fn actor(principal: Option<&Principal>, named: Named) -> Result<Actor, Refusal> {
    let anonymous = Actor::default();
    let Some(principal) = principal else {
        return Ok(Actor {
            organization: named.organization.unwrap_or(anonymous.organization),
            caller: named.caller.unwrap_or(anonymous.caller),
        });
    };
    let acts_as = principal.act_as(named.organization, named.caller)?;
    Ok(Actor {
        organization: acts_as.organization,
        caller: acts_as.caller,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use drumline_auth::Authenticator;
    use drumline_protocol::Organization;

    use super::*;

    const FILE: &str = r#"
        [[amqp]]
        user = "orders-svc"
        organizations = ["contoso"]
        roles = ["producer"]
        reply_to = ["orders.answers"]
        [[amqp]]
        user = "viewer"
        organizations = ["contoso"]
        roles = ["reader"]
    "#;

    fn access() -> Access {
        let name = format!("drumline-identity-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, FILE).unwrap();
        Access::Keys(Arc::new(Authenticator::open(path).unwrap()))
    }

    #[test]
    fn only_a_listed_user_is_admitted_and_answered_in_its_own_queue() {
        let access = access();
        for (user, reply_to, direct, reason, answered) in [
            (Some("orders-svc"), None, false, None, false),
            (
                Some("orders-svc"),
                Some("orders.answers.1"),
                false,
                None,
                true,
            ),
            (Some("orders-svc"), Some("x"), true, None, true),
            (
                Some("orders-svc"),
                Some("billing"),
                false,
                Some("reply_to"),
                false,
            ),
            (Some("viewer"), Some("x"), true, Some("role"), true),
            (
                Some("viewer"),
                Some("orders.answers.1"),
                false,
                Some("reply_to"),
                false,
            ),
            (Some("guest"), Some("x"), true, Some("unknown_user"), true),
            (
                Some("guest"),
                Some("billing"),
                false,
                Some("unknown_user"),
                false,
            ),
            (None, Some("x"), true, Some("no_user"), true),
            (None, Some("billing"), false, Some("no_user"), false),
        ] {
            let mut envelope = Envelope {
                user_id: user.map(str::to_owned),
                reply_to: reply_to.map(str::to_owned),
                replies_to_sender: direct,
                ..Envelope::default()
            };
            let admitted = admit(&access, &mut envelope);
            let about = format!("{user:?} {reply_to:?}: {admitted:?}");
            assert_eq!(admitted.err().map(|why| why.reason()), reason, "{about}");
            assert_eq!(envelope.reply_to.is_some(), answered, "{about}");
        }
    }

    #[test]
    fn without_keys_senders_name_themselves() {
        let mut envelope = Envelope {
            reply_to: Some("anything".to_owned()),
            ..Envelope::default()
        };
        let open = Access::default();
        assert!(admit(&open, &mut envelope).unwrap().is_none());
        assert!(envelope.reply_to.is_some());
        let named = Named {
            organization: Some(Organization("contoso".to_owned())),
            caller: None,
        };
        let actor = actor(None, named).unwrap();
        assert_eq!(actor.organization.0, "contoso");
        assert!(actor.is_anonymous());
    }
}
