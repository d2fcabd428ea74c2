//! Backups of a store that is in use.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;

use drumline_backend::store::{AuditStore as _, Backup, Import, ImportStore as _, Store as _};
use drumline_protocol::CommitId;

use super::{Folder, OnDisk, assert_same, on_disk, open, settled, walk_on};
use crate::durable::{BackupFile, Error};

async fn bytes_of(pieces: &mut Backup) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.recv().await {
        let piece = piece.expect("the rows can be read");
        bytes.extend(piece.bytes);
        if piece.is_last {
            assert!(pieces.recv().await.is_none(), "nothing follows");
        }
    }
    bytes
}

async fn backup_of(disk: &OnDisk) -> Vec<u8> {
    let pieces = disk.store.backup().await.expect("it is well");
    bytes_of(&mut pieces.expect("it is on a disk")).await
}

/// Makes a file of bytes that come in such parts.
fn file_of(folder: &Folder, bytes: &[u8], part: usize) -> Result<u64, Error> {
    let mut file = BackupFile::new(&folder.0.join("drumline.redb"))?;
    for some in bytes.chunks(part) {
        file.take(some)?;
    }
    file.finish().map(|made| made.operations)
}

fn empty_folder() -> Folder {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).expect("it can be made");
    folder
}

/// Adds more than some pieces of a backup.
async fn fill(disk: &OnDisk) {
    let entries: Vec<String> = (0..64).map(|at| format!("{at:0>1500}")).collect();
    for number in 1..=16 {
        let added = disk.store.append_audit(CommitId(number), &entries).await;
        added.expect("it is written");
    }
}

#[tokio::test]
async fn a_backup_is_a_store_as_of_the_moment_of_its_begin() {
    let disk = on_disk().await;
    walk_on(&disk, 11).await;
    fill(&disk).await;
    let operations = disk.store.counts().await.expect("it is well");
    let operations =
        operations.ready + operations.suspended + operations.locked + operations.completed;
    assert!(operations > 5, "{operations}");
    let pieces = disk.store.backup().await.expect("it is well");
    let content = disk.store.content();
    let before = settled(&content.state.lock(), &content.rollups.lock());
    // It goes on meanwhile, and a second backup waits for the first.
    let import = Import {
        id: "later".to_owned(),
        is_done: false,
        since: "now".to_owned(),
    };
    disk.store.note_import(&import).await.expect("it is well");
    let second = disk.store.backup().await.expect_err("one at a time");
    assert!(second.to_string().contains("under way"), "{second}");
    let bytes = bytes_of(&mut pieces.expect("it is on a disk")).await;
    for part in [1, 7, 100_000_000] {
        let folder = empty_folder();
        let made = file_of(&folder, &bytes, part).expect("it is complete");
        assert_eq!(made, operations);
        let about = std::fs::metadata(folder.0.join("drumline.redb")).expect("it is there");
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
        let taken = file_of(&folder, &bytes, part).expect_err("it is there");
        assert!(matches!(taken, Error::Folder { .. }), "{taken:?}");
        let restored = open(&folder.0).expect("it is a store");
        let content = restored.store.content();
        let after = settled(&content.state.lock(), &content.rollups.lock());
        restored.close();
        assert_same(&before, &after);
    }
    assert!(!backup_of(&disk).await.is_empty(), "the first has ended");
}

#[tokio::test]
async fn a_backup_that_is_cut_or_changed_becomes_no_file() {
    let disk = on_disk().await;
    walk_on(&disk, 12).await;
    let bytes = backup_of(&disk).await;
    let refused = |bytes: &[u8], what: &str| {
        let folder = empty_folder();
        let error = file_of(&folder, bytes, 10_000).expect_err(what);
        assert!(matches!(error, Error::NoBackup { .. }), "{what}: {error:?}");
        let left = std::fs::read_dir(&folder.0).expect("it is there").count();
        assert_eq!(left, 0, "{what}");
    };
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20 {
        let length = random.usize(..bytes.len());
        refused(&bytes[..length], &format!("{length} bytes of it"));
    }
    refused(&[&bytes[..], b"."].concat(), "one byte more");
    for _ in 0..20 {
        let mut changed = bytes.clone();
        changed[random.usize(26..bytes.len())] ^= 1 << random.u8(..8);
        refused(&changed, "with another bit");
    }
    let (head, rows) = bytes.split_at(26);
    let length = u64::from_be_bytes(rows[1..9].try_into().expect("8 bytes"));
    let length = usize::try_from(length).expect("a short key");
    let value = u64::from_be_bytes(rows[9 + length..17 + length].try_into().expect("8 bytes"));
    let second = 17 + length + usize::try_from(value).expect("a short value");
    refused(&[head, &rows[second..]].concat(), "without its first row");
    let folder = empty_folder();
    let page = b"<html><body>Sign in first, please</body></html>";
    let other = file_of(&folder, page, 10_000).expect_err("a page of a proxy");
    assert!(matches!(other, Error::OtherBackup { .. }), "{other:?}");
    let mut later = bytes.clone();
    later[23] += 1;
    let other = file_of(&folder, &later, 10_000).expect_err("a later format");
    assert!(matches!(other, Error::OtherBackup { .. }), "{other:?}");
}

#[tokio::test]
async fn a_backup_that_fails_leaves_the_files_of_others() {
    let disk = on_disk().await;
    fill(&disk).await;
    let bytes = backup_of(&disk).await;
    let folder = empty_folder();
    let name = folder.0.join("drumline.redb");
    let part = folder.0.join("drumline.redb.part");
    std::fs::write(&part, "another's").expect("it can be written");
    let mut first = BackupFile::new(&name).expect("it is not there");
    first.take(&bytes[..1_000_000]).expect("it is a backup");
    let mut second = BackupFile::new(&name).expect("it is not there");
    second.take(&bytes[..1_000]).expect("it is a backup");
    drop(second);
    drop(BackupFile::new(&name));
    first.take(&bytes[1_000_000..]).expect("it is a backup");
    let mut third = BackupFile::new(&name).expect("it is not there");
    third.take(&bytes).expect("it is a backup");
    first.finish().expect("it is complete");
    let late = third.finish().expect_err("it is there");
    assert!(matches!(late, Error::Folder { .. }), "{late:?}");
    let mut left: Vec<_> = std::fs::read_dir(&folder.0)
        .expect("it is there")
        .map(|one| one.expect("a file").file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["drumline.redb", "drumline.redb.part"]);
}

#[tokio::test]
async fn a_backup_ends_with_the_store() {
    let disk = on_disk().await;
    fill(&disk).await;
    let pieces = disk.store.backup().await.expect("it is well");
    let mut pieces = pieces.expect("it is on a disk");
    let store = std::sync::Arc::clone(&disk.store);
    // Nothing is read: the piece that waits must not keep the file open.
    let closing = tokio::task::spawn_blocking(move || store.close());
    closing.await.expect("it ends");
    assert!(disk.store.database_is_closed());
    let refused = disk.store.backup().await.expect_err("it is closed");
    assert!(refused.to_string().contains("closed"), "{refused}");
    let mut is_complete = false;
    while let Some(Ok(piece)) = pieces.recv().await {
        is_complete = piece.is_last;
    }
    assert!(!is_complete, "it was broken off");
}

#[tokio::test]
async fn a_backup_is_broken_off_when_the_disk_is_nearly_full() {
    let disk = on_disk().await;
    fill(&disk).await;
    let pieces = disk.store.backup().await.expect("it is well");
    let mut pieces = pieces.expect("it is on a disk");
    disk.disk.free.store(1 << 20, Ordering::Relaxed);
    let mut last = None;
    while let Some(piece) = pieces.recv().await {
        last = Some(piece);
    }
    let error = last.expect("a piece").expect_err("there is no room");
    assert!(error.to_string().contains("nearly full"), "{error}");
}

#[tokio::test]
async fn what_is_in_memory_alone_has_no_backup() {
    let store = crate::backend(super::partitions()).store;
    assert!(store.backup().await.expect("it is well").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_is_cut_off() {
    let disk = on_disk().await;
    fill(&disk).await;
    let pieces = disk.store.backup().await.expect("it is well");
    let mut pieces = pieces.expect("it is on a disk");
    while !pieces.is_closed() {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = pieces.recv().await {
        assert!(!piece.is_last, "it is cut");
        bytes.extend(piece.bytes);
    }
    let cut = file_of(&empty_folder(), &bytes, 10_000).expect_err("it is cut");
    assert!(matches!(cut, Error::NoBackup { .. }), "{cut:?}");
    let whole = backup_of(&disk).await;
    assert!(whole.len() > bytes.len(), "the first has ended");
}
