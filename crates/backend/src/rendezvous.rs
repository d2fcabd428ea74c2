//! The member that looks after a thing: rendezvous (highest random weight)
//! hashing.
//!
//! Every member computes the same answer from the same list. When a member
//! comes or goes, only its own share moves.

use crate::membership::MemberId;

/// The member that `thing` falls to; `None` without members.
#[must_use]
pub fn owner(thing: u64, members: &[MemberId]) -> Option<MemberId> {
    members
        .iter()
        .copied()
        .max_by_key(|member| (weight(thing, *member), *member))
}

/// An even 64-bit mix of both (the finaliser of `SplitMix64`, twice).
fn weight(thing: u64, member: MemberId) -> u64 {
    let (high, low) = member.0.as_u64_pair();
    mix(mix(thing ^ high).wrapping_add(low))
}

const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn members(count: u128) -> Vec<MemberId> {
        (1..=count).map(|n| MemberId(Uuid::from_u128(n))).collect()
    }

    #[test]
    fn shares_are_fair() {
        let members = members(4);
        for member in &members {
            let share = (0..4096)
                .filter(|&p| owner(p, &members) == Some(*member))
                .count();
            assert!((900..1150).contains(&share), "{share} of 4096");
        }
    }

    #[test]
    fn only_the_share_of_the_one_who_leaves_moves() {
        let five = members(5);
        let four = members(4);
        for thing in 0..1000 {
            let before = owner(thing, &five);
            if before != five.last().copied() {
                assert_eq!(before, owner(thing, &four));
            }
        }
    }

    #[test]
    fn nobody_owns_anything_without_members() {
        assert_eq!(owner(1, &[]), None);
    }

    /// Members of two releases look after partitions at the same time, so all agree.
    #[test]
    fn a_weight_is_the_same_in_every_release() {
        // The published number of SplitMix64 for this seed.
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
        let member = MemberId(Uuid::from_u64_pair(6, 7));
        assert_eq!(weight(5, member), mix(mix(3).wrapping_add(7)));
    }
}
