//! Sets in buckets do what an ordered set does, at every size, and keep their
//! shape.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::LazyLock;

use drumline_backend::Random;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Script};

use crate::common;

/// The members that a bucket has at most. With more, Redis makes it a sorted set
/// of another kind, in which a member costs five times as much.
const CROWDED: usize = 128;

static LIB_BUCKETS: LazyLock<String> = LazyLock::new(|| {
    let text = include_str!("../../src/scripts/lib_buckets.lua");
    common::script("lib_buckets.lua", text)
});
static LIB_BUCKET_CHANGES: LazyLock<String> = LazyLock::new(|| {
    let text = include_str!("../../src/scripts/lib_bucket_changes.lua");
    common::script("lib_bucket_changes.lua", text)
});

type Member = Vec<u8>;

/// A set on a real server, and the same set as a model.
struct Compared {
    connection: MultiplexedConnection,
    key: String,
    model: BTreeSet<Member>,
    random: Random,
}

impl Compared {
    async fn new(seed: u64) -> Self {
        let options = common::options().await;
        Self {
            connection: common::raw(&options.url).await,
            key: format!("{}:{{0}}:a set", options.namespace),
            model: BTreeSet::new(),
            random: Random::seeded(seed),
        }
    }

    /// Runs a line of Lua behind the library; `KEYS[1]` is the set.
    async fn lua<T: FromRedisValue>(&mut self, line: &str, arguments: &[Member]) -> T {
        let changes = "local set_add, set_remove = for_several()";
        let code = [&LIB_BUCKETS, &LIB_BUCKET_CHANGES, changes, line].join("\n");
        let script = Script::new(&code);
        let mut call = script.key(&self.key);
        for argument in arguments {
            call.arg(argument.as_slice());
        }
        call.invoke_async(&mut self.connection)
            .await
            .expect("an answer")
    }

    async fn raw<T: FromRedisValue>(&mut self, words: &[&[u8]]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        let answer = command.query_async(&mut self.connection).await;
        answer.expect("an answer")
    }

    async fn add(&mut self, members: &[Member]) {
        let () = self.lua("set_add(KEYS[1], ARGV)", members).await;
        self.model.extend(members.iter().cloned());
    }

    async fn remove(&mut self, members: &[Member]) {
        let there = members.iter().filter(|it| self.model.remove(*it)).count();
        let removed: usize = self.lua("return set_remove(KEYS[1], ARGV)", members).await;
        assert_eq!(removed, there);
    }

    fn below(&self, most: usize) -> usize {
        let most = u64::try_from(most.max(1)).expect("a number");
        usize::try_from(self.random.u64() % most).expect("a small number")
    }

    /// Some of the members, and some that are none.
    fn some(&self, count: usize, span: usize) -> Vec<Member> {
        let all: Vec<&Member> = self.model.iter().collect();
        let mut some: Vec<Member> = (0..count)
            .filter_map(|_| all.get(self.below(all.len())).copied().cloned())
            .collect();
        some.push(member(self.below(span)));
        some.sort_by_cached_key(|_| self.random.u64());
        let mut seen = BTreeSet::new();
        some.retain(|it| seen.insert(it.clone()));
        some
    }

    /// The set is read as the model says, in both directions.
    async fn assert_ranges(&mut self, span: usize) {
        let (low, high) = (member(self.below(span)), member(self.below(span)));
        let limit = 1 + self.below(300);
        let count = limit.to_string().into_bytes();
        let mark = |letter: u8, member: &Member| [[letter].as_slice(), member].concat();
        for (from, to) in [(b'[', b'['), (b'(', b'(')] {
            let arguments = [mark(from, &low), mark(to, &high), count.clone()];
            let up: Vec<Member> = self
                .lua(
                    "return set_range(KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]))",
                    &arguments,
                )
                .await;
            let down: Vec<Member> = self
                .lua(
                    "return set_range_down(KEYS[1], ARGV[2], ARGV[1], tonumber(ARGV[3]))",
                    &arguments,
                )
                .await;
            let bound = |letter: u8, member: &Member| match letter {
                b'[' => Bound::Included(member.clone()),
                _ => Bound::Excluded(member.clone()),
            };
            let within: Vec<Member> = if low < high {
                let range = (bound(from, &low), bound(to, &high));
                self.model.range(range).cloned().collect()
            } else if from == b'[' && low == high {
                self.model.get(&low).cloned().into_iter().collect()
            } else {
                Vec::new()
            };
            let expected: Vec<&Member> = within.iter().take(limit).collect();
            assert_eq!(up.iter().collect::<Vec<_>>(), expected);
            let expected: Vec<&Member> = within.iter().rev().take(limit).collect();
            assert_eq!(down.iter().collect::<Vec<_>>(), expected);
        }
        let arguments = [mark(b'[', &low), mark(b'[', &high)];
        let line = "return {set_count(KEYS[1], ARGV[1], ARGV[2]), set_size(KEYS[1])}";
        let (about, size): (usize, usize) = self.lua(line, &arguments).await;
        assert_eq!(size, self.model.len());
        if low < high {
            let exactly = self.model.range(low.clone()..=high).count();
            assert!(
                (exactly / 4..=exactly * 4 + CROWDED).contains(&about),
                "{about}, not {exactly}"
            );
        }
        let has: bool = self
            .lua(
                "return set_has(KEYS[1], ARGV[1])",
                std::slice::from_ref(&low),
            )
            .await;
        assert_eq!(has, self.model.contains(&low));
    }

    /// All of it is as the model says, and in the shape that the library
    /// promises. Returns the number of buckets.
    async fn assert_shape(&mut self) -> usize {
        let all = b"1000000".to_vec();
        let up: Vec<Member> = self
            .lua(
                "return set_range(KEYS[1], '-', '+', tonumber(ARGV[1]))",
                std::slice::from_ref(&all),
            )
            .await;
        assert_eq!(up.iter().collect::<BTreeSet<_>>().len(), up.len());
        assert!(up.iter().eq(&self.model));
        let down: Vec<Member> = self
            .lua(
                "return set_range_down(KEYS[1], '+', '-', tonumber(ARGV[1]))",
                &[all],
            )
            .await;
        assert!(down.iter().rev().eq(&self.model));

        let key = self.key.clone().into_bytes();
        let directory = [key.as_slice(), b"/"].concat();
        let bounds: Vec<Member> = self.raw(&[b"ZRANGE", &directory, b"0", b"-1"]).await;
        let tail: Vec<Member> = self.raw(&[b"ZRANGE", &key, b"0", b"-1"]).await;
        let mut found = Vec::new();
        let mut bucket_before = None;
        for bound in &bounds {
            let bucket = [directory.as_slice(), bound].concat();
            let members: Vec<Member> = self.raw(&[b"ZRANGE", &bucket, b"0", b"-1"]).await;
            assert!(!members.is_empty(), "no bucket stays empty");
            assert!(members.len() <= CROWDED, "{} members", members.len());
            assert!(members.iter().all(|it| it <= bound));
            assert!(members.iter().all(|it| Some(it) > bucket_before));
            let kind: String = self.raw(&[b"OBJECT", b"ENCODING", &bucket]).await;
            assert_eq!(kind, "listpack");
            found.extend(members);
            bucket_before = Some(bound);
        }
        assert!(tail.iter().all(|it| Some(it) > bounds.last()));
        assert!(tail.len() < CROWDED / 2, "{} in the tail", tail.len());
        let counter = [key.as_slice(), b"#"].concat();
        let counted: Option<usize> = self.raw(&[b"GET", &counter]).await;
        assert_eq!(counted, (!bounds.is_empty()).then_some(found.len()));
        found.extend(tail);
        assert!(found.iter().eq(&self.model));
        // Neighbours are united, so no bucket stays for a few members.
        assert!(
            bounds.len() * 8 <= found.len() + 24,
            "{} buckets for {} members",
            bounds.len(),
            found.len()
        );
        bounds.len()
    }

    async fn keys(&mut self) -> Vec<Vec<u8>> {
        let pattern = format!("{}*", self.key);
        self.raw(&[b"KEYS", pattern.as_bytes()]).await
    }
}

/// A member by its place in the order. Many share their first bytes, zeros and
/// bytes above 127 among them: a comparison of text would go wrong.
fn member(place: usize) -> Member {
    let place = u64::try_from(place).expect("a number");
    let high = (place >> 6).to_be_bytes();
    let low = u8::try_from((place & 63) * 4 + 1).expect("a byte");
    [high.as_slice(), &[0, low, 0xff, 0x7f, 0, 0, 0, 1]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_at_random_is_as_its_model() {
    const SPAN: usize = 20_000;
    let mut set = Compared::new(1).await;
    for (round, growing) in (0..240).map(|round| (round, round % 80 < 50)) {
        let count = 1 + set.below(200);
        if growing {
            let members: Vec<Member> = (0..count).map(|_| member(set.below(SPAN))).collect();
            set.add(&members).await;
        } else {
            let members = set.some(count * 3, SPAN);
            set.remove(&members).await;
        }
        set.assert_ranges(SPAN).await;
        if round % 20 == 19 {
            set.assert_shape().await;
        }
    }
    while !set.model.is_empty() {
        let members = set.some(400, SPAN);
        set.remove(&members).await;
        set.assert_shape().await;
    }
    assert_eq!(set.keys().await, Vec::<Vec<u8>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_in_order_fill_buckets_and_leave_none_behind() {
    const MEMBERS: usize = 10_000;
    let mut set = Compared::new(2).await;
    let members: Vec<Member> = (0..MEMBERS).map(member).collect();
    for group in members.chunks(16) {
        set.add(group).await;
    }
    let buckets = set.assert_shape().await;
    assert!(buckets <= MEMBERS / 64, "{buckets} buckets");
    for _ in 0..20 {
        set.assert_ranges(MEMBERS).await;
    }
    for (at, group) in members.chunks(16).enumerate() {
        set.remove(group).await;
        if at % 100 == 0 {
            set.assert_shape().await;
        }
    }
    assert_eq!(set.keys().await, Vec::<Vec<u8>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_grows_in_its_middle_becomes_two() {
    const STEP: usize = 16;
    let mut set = Compared::new(3).await;
    let coarse: Vec<Member> = (0..640).map(|place| member(place * STEP)).collect();
    set.add(&coarse).await;
    let before = set.assert_shape().await;
    // All others, from the last to the first: each goes into some middle.
    let others: Vec<Member> = (0..640 * STEP)
        .rev()
        .filter(|place| place % STEP != 0)
        .map(member)
        .collect();
    for group in others.chunks(300) {
        set.add(group).await;
    }
    let after = set.assert_shape().await;
    assert!(after >= 5 * before, "{before} buckets, then {after}");
    // Most of them leave, here and there.
    for keep in [2, 4, 8, 16, 32, 64] {
        let leaving: Vec<Member> = (0..640 * STEP)
            .filter(|place| place % keep != 0)
            .map(member)
            .filter(|it| set.model.contains(it))
            .collect();
        for group in leaving.chunks(100) {
            set.remove(group).await;
        }
        set.assert_shape().await;
    }
    let last = set.assert_shape().await;
    assert!(last * 8 <= set.model.len() + 24, "{last} buckets are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_set_is_one_key() {
    let mut set = Compared::new(4).await;
    let members: Vec<Member> = (0..40).map(member).collect();
    set.add(&members).await;
    set.add(&members).await;
    assert_eq!(set.keys().await, [set.key.clone().into_bytes()]);
    set.assert_ranges(60).await;
    // Nor does it keep its buckets after it was large.
    let more: Vec<Member> = (0..500).map(member).collect();
    set.add(&more).await;
    assert!(set.assert_shape().await > 3);
    for group in more[..480].chunks(7) {
        set.remove(group).await;
    }
    set.assert_shape().await;
    assert_eq!(set.keys().await, [set.key.clone().into_bytes()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_may_come_and_go_one_by_one() {
    const MEMBERS: usize = 400;
    let mut set = Compared::new(11).await;
    // At first in their order, and then between these.
    for place in (0..MEMBERS).step_by(2).chain((1..MEMBERS).step_by(2)) {
        set.add(&[member(place)]).await;
    }
    assert!(set.assert_shape().await > 2);
    for place in (0..MEMBERS).step_by(2).chain((1..MEMBERS).step_by(2)) {
        set.remove(&[member(place)]).await;
        set.remove(&[member(place)]).await;
        if place % 16 < 2 {
            set.assert_shape().await;
        }
    }
    assert_eq!(set.keys().await, Vec::<Vec<u8>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_differ_in_their_last_bytes_alone_are_in_order() {
    let mut set = Compared::new(5).await;
    // 18 bytes: no multiple of the four that are compared at once.
    let long = |place: u16| [[0xfe; 16].as_slice(), &place.to_be_bytes()].concat();
    let members: Vec<Member> = (0..1_000).map(|place| long(place * 3)).collect();
    set.add(&members).await;
    assert!(set.assert_shape().await > 8);
    let between: Vec<Member> = (0..1_000).map(|place| long(place * 3 + 1)).collect();
    for group in between.chunks(90) {
        set.add(group).await;
    }
    set.assert_shape().await;
    // 16 bytes: as many as an id. The last four of them are compared at once.
    let mut ids = Compared::new(9).await;
    let id = |place: u16| [[0xfe; 12].as_slice(), &place.to_be_bytes(), &[0, 7]].concat();
    for step in [0, 1] {
        let members: Vec<Member> = (0..1_000).map(|place| id(place * 2 + step)).collect();
        for group in members.chunks(90) {
            ids.add(group).await;
            ids.assert_shape().await;
        }
    }
    // A member that is the beginning of another is before it.
    let short: Vec<Member> = members.iter().map(|it| it[..17].to_vec()).collect();
    set.add(&short[..1]).await;
    set.assert_shape().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_thousand_members_leave_at_once() {
    const MEMBERS: usize = 3_000;
    let mut set = Compared::new(6).await;
    let members: Vec<Member> = (0..MEMBERS).map(member).collect();
    set.add(&members).await;
    set.remove(&members[..2_500]).await;
    set.assert_shape().await;
    set.remove(&members).await;
    assert_eq!(set.keys().await, Vec::<Vec<u8>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_bucket_unites_with_the_one_before_it_if_the_one_behind_is_full() {
    let mut set = Compared::new(7).await;
    let members: Vec<Member> = (0..640).map(member).collect();
    set.add(&members).await;
    let before = set.assert_shape().await;
    // The first bucket becomes small, but not sparse; then the second one sparse.
    let places = |range: std::ops::Range<usize>| range.map(member).collect::<Vec<_>>();
    set.remove(&places(0..40)).await;
    assert_eq!(set.assert_shape().await, before);
    set.remove(&places(64..116)).await;
    assert_eq!(set.assert_shape().await, before - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_bucket_unites_with_the_one_behind_it() {
    let mut set = Compared::new(10).await;
    let members: Vec<Member> = (0..640).map(member).collect();
    set.add(&members).await;
    let before = set.assert_shape().await;
    let places = |range: std::ops::Range<usize>| range.map(member).collect::<Vec<_>>();
    // The second bucket and the third one have room, and are not sparse themselves.
    for start in [64, 128] {
        set.remove(&places(start..start + 40)).await;
        assert_eq!(set.assert_shape().await, before);
    }
    set.remove(&places(0..52)).await;
    assert_eq!(set.assert_shape().await, before - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_counted_up_to_a_bound_over_many_buckets() {
    const MEMBERS: usize = 2_000;
    let mut set = Compared::new(8).await;
    let members: Vec<Member> = (0..MEMBERS).map(member).collect();
    set.add(&members).await;
    let line = "return set_count_to(KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]))";
    let mark = |place| [b"[".as_slice(), &member(place)].concat();
    let all = |most: usize| [mark(0), mark(MEMBERS), most.to_string().into_bytes()];
    let exactly: usize = set.lua(line, &all(MEMBERS * 2)).await;
    assert_eq!(exactly, MEMBERS);
    // As soon as there are enough, the rest is not looked at.
    for most in [1, 100, 512, 1_000] {
        let enough: usize = set.lua(line, &all(most)).await;
        assert!(
            (most..most + CROWDED).contains(&enough),
            "{enough} of {most}"
        );
    }
    let none: usize = set.lua(line, &all(0)).await;
    assert_eq!(none, 0);
}
