//! The store's suite on a disk, and walks beside a store in memory. After each, the
//! disk is opened again, and has everything that was in memory.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::Store;
use drumline_backend::store::{AuditStore as _, QueueStore as _, QueueUse};
use drumline_conformance::check_all;
use drumline_conformance::differential::{Word, walk};
use drumline_conformance::{RestartHarness, StoreHarness};
use drumline_protocol::{CommitId, Organization, PartitionCount, Timestamp};
use parking_lot::Mutex;

use self::disk::Disk;
use super::{Durable, Error};
use crate::clock::Clock as _;
use crate::rollups::Rollups;
use crate::state::State;
use crate::{EmbeddedStore, ManualClock, SystemClock};

mod backup;
mod data;
mod disk;
mod power;
mod room;

drumline_conformance::store_suite!(on_disk);
drumline_conformance::restart_suite!(that_restarts);

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("drumline-durable-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(std::fs::remove_dir_all(&path));
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A store whose disk is in memory, so that a sync costs nothing.
struct OnDisk {
    store: Arc<EmbeddedStore>,
    disk: Disk,
}

fn partitions() -> PartitionCount {
    PartitionCount::new(8).expect("between 1 and 4096")
}

fn open(folder: &Path) -> Result<Durable, Error> {
    Durable::open(folder, partitions(), Arc::new(SystemClock))
}

async fn on_disk() -> OnDisk {
    let disk = Disk::new();
    let store = Arc::new(disk.open().expect("an empty disk"));
    OnDisk { store, disk }
}

#[async_trait]
impl StoreHarness for OnDisk {
    async fn connect(&self) -> Arc<dyn Store> {
        self.store.clone()
    }
}

/// The state and the rollups, as they are to be after a restart.
fn settled(state: &State, rollups: &Rollups) -> String {
    format!("{}{}", state.settled(), rollups.settled())
}

/// Asserts that two texts are equal; shows the first place where they are not.
fn assert_same(before: &str, after: &str) {
    let equal = before.bytes().zip(after.bytes());
    let equal = equal.take_while(|(one, other)| one == other).count();
    let part = |text: &str| {
        let bytes = text.bytes().skip(equal.saturating_sub(200)).take(400);
        String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
    };
    let are_equal = before == after;
    assert!(
        are_equal,
        "a restart has changed something:\nbefore … {} …\nafter … {} …",
        part(before),
        part(after)
    );
}

/// The content of a disk, as it is after a restart.
fn found_on(disk: &Disk) -> Result<String, Error> {
    let (database, count) = disk.database()?;
    let state = State::restore(count, &database)?;
    Ok(settled(&state, &Rollups::restore(&database)?))
}

impl OnDisk {
    /// Closes the store; returns its content.
    fn close(&self) -> String {
        self.store.close();
        let content = self.store.content();
        settled(&content.state.lock(), &content.rollups.lock())
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let before = self.close();
            let found = found_on(&self.disk).expect("its rows can be read");
            assert_same(&before, &found);
        }
    }
}

/// A store whose clock is moved by hand.
struct Restarting {
    durable: Mutex<Durable>,
    clock: ManualClock,
    folder: Folder,
}

async fn that_restarts() -> Restarting {
    let folder = Folder::new();
    let clock = ManualClock::new(Timestamp::from_millis(1_795_000_000_000));
    let durable = Durable::open(&folder.0, partitions(), Arc::new(clock.clone()));
    Restarting {
        durable: Mutex::new(durable.expect("a new folder")),
        clock,
        folder,
    }
}

#[async_trait]
impl StoreHarness for Restarting {
    async fn connect(&self) -> Arc<dyn Store> {
        Arc::clone(&self.durable.lock().backend().store)
    }
}

#[async_trait]
impl RestartHarness for Restarting {
    async fn restart(&self, back: Duration) {
        let mut durable = self.durable.lock();
        durable.close();
        let before = self.clock.now().as_millis();
        let back = i64::try_from(back.as_millis()).expect("not long");
        self.clock.set(Timestamp::from_millis(before - back));
        let next = Durable::open(&self.folder.0, partitions(), Arc::new(self.clock.clone()));
        *durable = next.expect("the folder is free");
    }
}

struct InMemory(Arc<dyn Store>);

#[async_trait]
impl StoreHarness for InMemory {
    async fn connect(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0)
    }
}

/// The walks that are taken, and the words of each.
const WALKS: u64 = 24;
const WORDS: usize = 160;

/// Takes a walk on a disk, beside one in memory.
async fn walk_on(disk: &OnDisk, seed: u64) {
    let memory = InMemory(crate::backend(partitions()).store);
    let mut random = fastrand::Rng::with_seed(seed);
    let words: Vec<Word> = (0..WORDS).map(|_| random.u32(..).to_be_bytes()).collect();
    let outcome = walk(disk, &memory, &words).await;
    assert_eq!(outcome, Ok(()), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_on_a_disk_is_the_walk_in_memory_and_survives_a_restart() {
    for seed in 0..WALKS {
        walk_on(&on_disk().await, seed).await;
    }
}

#[tokio::test]
async fn a_damaged_page_is_found_or_was_of_no_use() {
    const PAGE: usize = 4_096;
    let disk = on_disk().await;
    walk_on(&disk, 7).await;
    let entries: Vec<String> = (0..64).map(|at| format!("{at:0>1000}")).collect();
    let added = disk.store.append_audit(CommitId(1), &entries).await;
    added.expect("it is written");
    let before = disk.close();
    let bytes = disk.disk.bytes();
    let mut random = fastrand::Rng::with_seed(1);
    let mut found = 0;
    for page in 0..bytes.len() / PAGE {
        let mut damaged = bytes.clone();
        damaged[page * PAGE + random.usize(..PAGE)] ^= 1 << random.u8(..8);
        match found_on(&Disk::with(damaged)) {
            Ok(after) => assert_same(&before, &after),
            Err(error) => {
                // The first page says what the file is.
                assert!(error.is_damage() || page == 0, "page {page}: {error:?}");
                found += 1;
            }
        }
    }
    assert!(found > 10, "{found} pages");
}

#[tokio::test]
async fn what_a_check_repairs_survives_a_restart() {
    let disk = on_disk().await;
    walk_on(&disk, 7).await;
    disk.store.content().state.lock().lose_sets();
    let all = partitions().all().collect();
    let page = check_all(&*disk.store, all, 16, true).await;
    let repaired = page.faults.iter().filter(|one| one.is_repaired).count();
    assert!(repaired > 10, "{repaired} faults");
}

#[test]
fn a_folder_is_of_one_process_at_a_time_and_of_one_user() {
    let folder = Folder::new();
    let first = open(&folder.0).expect("a new folder");
    let second = open(&folder.0).expect_err("it is in use");
    assert!(matches!(second, Error::InUse { .. }), "{second:?}");
    first.close();
    let third = open(&folder.0).expect("it is free again");
    third.close();
    let about = std::fs::metadata(&folder.0).expect("it is there");
    assert_eq!(about.permissions().mode() & 0o077, 0);
}

#[test]
fn the_file_is_of_one_user_in_whatever_folder() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).expect("it can be made");
    let everybody = Permissions::from_mode(0o755);
    std::fs::set_permissions(&folder.0, everybody).expect("it is ours");
    let file = folder.0.join("drumline.redb");
    // A backup that is put back may have other rights.
    for _ in 0..2 {
        open(&folder.0).expect("a store").close();
        let about = std::fs::metadata(&file).expect("it is there");
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("it is ours");
    }
}

#[test]
fn a_store_that_was_not_made_to_its_end_is_made_again_and_an_empty_file_is_none() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).expect("it can be made");
    std::fs::write(folder.0.join("drumline.redb.new"), "half").expect("it can be written");
    open(&folder.0).expect("it is made again").close();
    // A copy that has failed.
    std::fs::write(folder.0.join("drumline.redb"), "").expect("it can be written");
    let error = open(&folder.0).expect_err("everything is lost");
    assert!(error.is_damage(), "{error:?}");
}

#[tokio::test]
async fn a_limit_of_queues_is_kept_though_the_first_use_was_refused() {
    let on_disk = on_disk().await;
    let queue = "mail".parse().expect("a name");
    let wanted = QueueUse::new(&Organization::default(), &queue);
    let used = on_disk.store.use_queue(&wanted, Some(0)).await;
    assert!(!used.expect("it answers"));
}

#[tokio::test]
async fn a_closed_store_answers_with_an_error() {
    let store = Disk::new().open().expect("an empty disk");
    store.close();
    let late = store.note_minor(7).await;
    late.expect_err("nothing is written any more");
    store.check().await.expect_err("it is not ready");
}

#[test]
fn a_folder_of_a_later_release_is_refused() {
    let folder = Folder::new();
    open(&folder.0).expect("a new folder").close();
    let file = folder.0.join("drumline.redb");
    let redb = redb::Database::open(&file).expect("it is a database");
    let writing = redb.begin_write().expect("it can be written");
    let about = redb::TableDefinition::<&str, u64>::new("about");
    let mut table = writing.open_table(about).expect("the table is there");
    table.insert("format", 2).expect("it can be written");
    drop(table);
    writing.commit().expect("it can be written");
    drop(redb);
    let error = open(&folder.0).expect_err("a later format");
    let is_newer = matches!(
        error,
        Error::Newer {
            found: 2,
            reads: 1,
            ..
        }
    );
    assert!(is_newer, "{error:?}");
}

#[test]
fn another_file_is_refused_and_stays_as_it_is() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).expect("it can be made");
    let file = folder.0.join("drumline.redb");
    let text = "a letter to a friend".repeat(1_000);
    std::fs::write(&file, &text).expect("it can be written");
    let error = open(&folder.0).expect_err("it is no database");
    assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
    let after = std::fs::read_to_string(&file).expect("it is there");
    assert_eq!(after, text);
}

#[tokio::test]
async fn damage_is_found_at_start_and_nothing_is_served() {
    let folder = Folder::new();
    let durable = open(&folder.0).expect("a new folder");
    let store = Arc::clone(&durable.backend().store);
    let entries: Vec<String> = (0..64).map(|at| format!("{at:0>1000}")).collect();
    let added = store.append_audit(CommitId(1), &entries);
    added.await.expect("it can be written");
    drop(store);
    durable.close();
    let file = folder.0.join("drumline.redb");
    let mut bytes = std::fs::read(&file).expect("it is there");
    let wanted = "0".repeat(500).into_bytes();
    let at = bytes.windows(wanted.len()).rposition(|some| some == wanted);
    let at = at.expect("an entry is in the file");
    bytes[at] = b'1';
    std::fs::write(&file, &bytes).expect("it can be written");
    let error = open(&folder.0).expect_err("a page differs from its checksum");
    assert!(error.is_damage(), "{error:?}");
}
