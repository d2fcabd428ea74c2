//! One value per index, and the filter that asks for it.

use drumline_backend::store::Filter;
use drumline_protocol::Organization;

use crate::fixtures::{Draft, Fixture, chain_key, independent, of_token};

/// An indexed condition: the draft that has the value, and the filter that asks
/// for it.
pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) draft: Draft,
    pub(super) filter: Filter,
}

/// One case per index, with values that no other operation has.
pub(super) fn cases(fixture: &Fixture) -> Vec<Case> {
    let organization = Organization::default();
    let base = Filter {
        organization: Some(organization.clone()),
        ..Filter::default()
    };
    let id = fixture.ids.uuid();
    vec![
        Case {
            what: "name",
            draft: Draft {
                name: "Löhne".to_owned(),
                ..independent()
            },
            filter: Filter {
                name: Some("Löhne".to_owned()),
                ..base.clone()
            },
        },
        Case {
            what: "message name",
            draft: Draft {
                message_name: "PayOut".to_owned(),
                ..independent()
            },
            filter: Filter {
                message_name: Some("PayOut".to_owned()),
                ..base.clone()
            },
        },
        Case {
            what: "token",
            draft: of_token("a"),
            filter: Filter {
                chain: Some(chain_key(&organization, "a")),
                ..base.clone()
            },
        },
        Case {
            what: "correlation id",
            draft: Draft {
                correlation_id: Some(id),
                ..independent()
            },
            filter: Filter {
                correlation_id: Some(id),
                ..base.clone()
            },
        },
        Case {
            what: "parent",
            draft: Draft {
                parent_id: Some(id),
                ..independent()
            },
            filter: Filter {
                parent_id: Some(id),
                ..base.clone()
            },
        },
        Case {
            what: "record",
            draft: Draft {
                primary_entity_type: Some("account".to_owned()),
                regarding_object_id: Some(id),
                ..independent()
            },
            filter: Filter {
                primary_entity_type: Some("account".to_owned()),
                regarding_object_id: Some(id),
                ..base.clone()
            },
        },
        Case {
            what: "owner",
            draft: Draft {
                owner: "anna".to_owned(),
                ..independent()
            },
            filter: Filter {
                owner: Some("anna".to_owned()),
                ..base
            },
        },
    ]
}
