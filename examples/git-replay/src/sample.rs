//! Sample repositories, for machines that have no long histories at hand.
//!
//! Every commit changes what the ones before it left: lines are added,
//! replaced and removed, files are moved, deleted and made executable, bytes
//! are binary. The content is computed from the repository's number and the
//! commit's, so that it is the same on every machine.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::git::Git;
use crate::say;

/// The most files that a sample repository has.
const FILES: u64 = 24;
/// Lines that a new file starts with.
const LINES: u64 = 40;

/// Writes `count` repositories with `commits` commits each.
pub(crate) fn write(dir: &Path, count: u64, commits: u64) -> Result<()> {
    for number in 1..=count {
        let path = dir.join(format!("sample-{number}"));
        fs::create_dir_all(&path).map_err(Error::io("cannot create", &path))?;
        Git::new(&path, "init")
            .args(["--quiet", "--bare", "--initial-branch=main", "."])
            .run()?;
        let stream = path.join("import");
        fs::write(&stream, history(number, commits)).map_err(Error::io("cannot write", &stream))?;
        Git::new(&path, "fast-import")
            .args(["--quiet"])
            .input(&stream)?
            .run()?;
        fs::remove_file(&stream).map_err(Error::io("cannot remove", &stream))?;
        say(&path.display().to_string())?;
    }
    Ok(())
}

/// A history in the format of `git fast-import`.
fn history(repository: u64, commits: u64) -> Vec<u8> {
    let mut tree = Tree::default();
    let mut stream = Vec::new();
    let mut dice = Dice(repository);
    for number in 1..=commits {
        let subject = format!("Change {number} of sample {repository}");
        // A minute apart, from 2020-01-01 on.
        let seconds = 1_577_836_800 + number * 60;
        stream.extend(format!("commit refs/heads/main\nmark :{number}\n").bytes());
        stream.extend(format!("committer sample <sample@localhost> {seconds} +0000\n").bytes());
        data(&mut stream, subject.as_bytes());
        for _ in 0..=dice.below(3) {
            tree.change(&mut stream, &mut dice, number);
        }
    }
    stream
}

/// The files as they stand.
#[derive(Default)]
struct Tree {
    files: Vec<File>,
}

struct File {
    path: PathBuf,
    lines: Vec<String>,
    executable: bool,
}

impl Tree {
    /// One change, written to the stream.
    fn change(&mut self, stream: &mut Vec<u8>, dice: &mut Dice, number: u64) {
        let place = usize::try_from(dice.below(FILES)).unwrap_or_default();
        let Some(file) = self.files.get_mut(place) else {
            let file = File::new(dice, number);
            file.write(stream);
            self.files.push(file);
            return;
        };
        match dice.below(12) {
            0 => {
                file.delete(stream);
                *file = File::new(dice, number);
            }
            1 => {
                file.delete(stream);
                file.path = path(dice, number);
            }
            2 => file.executable = !file.executable,
            3 => file.lines.truncate(1),
            _ => file.edit(dice, number),
        }
        file.write(stream);
    }
}

impl File {
    fn new(dice: &mut Dice, number: u64) -> Self {
        let lines = (0..LINES).map(|line| format!("{number} {line} {:x}\n", dice.roll()));
        let lines = lines.collect();
        Self {
            path: path(dice, number),
            lines,
            executable: false,
        }
    }

    fn edit(&mut self, dice: &mut Dice, number: u64) {
        let all = u64::try_from(self.lines.len()).unwrap_or(1);
        let place = usize::try_from(dice.below(all.max(1))).unwrap_or_default();
        let line = format!("{number} \u{e4}\0\u{1} {:x}\r\n", dice.roll());
        match dice.below(3) {
            0 if place < self.lines.len() => {
                self.lines.remove(place);
            }
            _ => self.lines.insert(place.min(self.lines.len()), line),
        }
    }

    fn write(&self, stream: &mut Vec<u8>) {
        let mode = if self.executable { "100755" } else { "100644" };
        let path = self.path.display();
        stream.extend(format!("M {mode} inline {path}\n").bytes());
        data(stream, self.lines.concat().as_bytes());
    }

    fn delete(&self, stream: &mut Vec<u8>) {
        stream.extend(format!("D {}\n", self.path.display()).bytes());
    }
}

/// A path that no other file has: it names the commit and a number drawn.
fn path(dice: &mut Dice, number: u64) -> PathBuf {
    let folder = dice.below(5);
    PathBuf::from(format!("folder {folder}/{number}-{:x}.txt", dice.roll()))
}

fn data(stream: &mut Vec<u8>, content: &[u8]) {
    stream.extend(format!("data {}\n", content.len()).bytes());
    stream.extend(content);
    stream.push(b'\n');
}

/// Numbers that look drawn and are computed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_give_the_same_history() {
        assert_eq!(history(1, 50), history(1, 50));
        assert_ne!(history(1, 50), history(2, 50));
    }
}
