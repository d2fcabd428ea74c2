//! The roster: the live members, grouped by their profiles.
//!
//! Decisions about members are decisions about profiles: which release reads a
//! field, which worker has a handler. A fleet of thousands has few profiles, so a
//! decision takes as long as there are profiles.

use std::sync::Arc;

use crate::membership::{Member, MemberId, Profile, Role};

/// The live members, grouped by their profiles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roster {
    groups: Vec<Group>,
}

/// The members with one profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The profile.
    pub profile: Arc<Profile>,
    /// The members; at least one.
    pub ids: Vec<MemberId>,
}

impl Roster {
    /// Makes a roster of groups, each with another profile. Leaves out groups
    /// without members.
    #[must_use]
    pub fn of_groups(groups: impl IntoIterator<Item = Group>) -> Self {
        let groups = groups.into_iter().filter(|group| !group.ids.is_empty());
        Self {
            groups: groups.collect(),
        }
    }

    /// Makes the roster of these members.
    pub fn of_members<'a>(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for member in members {
            let same = |group: &&mut Group| *group.profile == member.profile;
            match groups.iter_mut().find(same) {
                Some(group) => group.ids.push(member.id),
                None => groups.push(Group {
                    profile: Arc::new(member.profile.clone()),
                    ids: vec![member.id],
                }),
            }
        }
        Self { groups }
    }

    /// The members by their profiles, in no order.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The profiles of the members other than `me`.
    pub fn others(&self, me: MemberId) -> impl Iterator<Item = &Profile> {
        let others = self.groups.iter().filter(move |group| *group.ids != [me]);
        others.map(|group| &*group.profile)
    }

    /// The ids of the members with a profile that `is_wanted`, in order.
    pub fn ids(&self, is_wanted: impl Fn(&Profile) -> bool) -> Vec<MemberId> {
        let wanted = self.groups.iter().filter(|group| is_wanted(&group.profile));
        let mut ids: Vec<_> = wanted.flat_map(|group| &group.ids).copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The number of members in a role.
    #[must_use]
    pub fn count(&self, role: Role) -> usize {
        let groups = self.groups.iter();
        let in_role = groups.filter(|group| group.profile.role == role);
        in_role.map(|group| group.ids.len()).sum()
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.ids.len()).sum()
    }

    /// Returns true if no member is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> MemberId {
        MemberId(Uuid::from_u128(number))
    }

    fn member(number: u128, role: Role) -> Member {
        Member {
            id: id(number),
            host: String::new(),
            running: 0,
            started_on_ms: 0,
            profile: Profile::new(role),
        }
    }

    #[test]
    fn members_with_equal_profiles_are_one_group() {
        let members = [
            member(3, Role::Worker),
            member(2, Role::Manager),
            member(1, Role::Worker),
        ];
        let roster = Roster::of_members(&members);
        assert_eq!(roster.groups().len(), 2);
        assert_eq!((roster.len(), roster.is_empty()), (3, false));
        assert_eq!(roster.count(Role::Worker), 2);
        assert_eq!(roster.count(Role::Manager), 1);
        assert_eq!(roster.ids(|_| true), [1, 2, 3].map(id));
        let is_worker = |profile: &Profile| profile.role == Role::Worker;
        assert_eq!(roster.ids(is_worker), [1, 3].map(id));

        let none = Roster::of_members([]);
        assert_eq!((none.len(), none.is_empty()), (0, true));
        let group = Group {
            profile: Arc::new(Profile::new(Role::Worker)),
            ids: Vec::new(),
        };
        assert!(Roster::of_groups([group]).is_empty());
    }

    #[test]
    fn the_others_are_the_profiles_that_another_member_has() {
        let members = [member(1, Role::Worker), member(2, Role::Manager)];
        let roles = |members: &[Member], me| -> Vec<Role> {
            let roster = Roster::of_members(members);
            roster.others(id(me)).map(|profile| profile.role).collect()
        };
        assert_eq!(roles(&members, 1), [Role::Manager]);
        assert_eq!(roles(&members, 3), [Role::Worker, Role::Manager]);
        let alike = [member(1, Role::Worker), member(2, Role::Worker)];
        assert_eq!(roles(&alike, 1), [Role::Worker], "another one is alike");
        assert_eq!(roles(&[], 1), []);
    }
}
