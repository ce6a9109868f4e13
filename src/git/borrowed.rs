//! What a repository takes from elsewhere: by links, and by objects of others that it borrows.
//!
//! Whoever may write to a repository can make it lead into one that they may not read. A hook reads as them, and the kernel
//! stops it; the daemon reads for everybody, so it has to look first.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Git follows borrowed objects as deep.
const DEEP: usize = 5;

/// Finds what a repository takes from somebody who is not its owner; nothing when all is its owner's.
pub fn of_others(git_dir: &Path) -> Option<PathBuf> {
    let owner = fs::metadata(git_dir).ok()?.uid();
    let is_others = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.uid() != owner);
    let objects = git_dir.join("objects");
    let names = ["refs", "packed-refs", "HEAD", "objects", "refs/heads", "refs/tags"];
    let named = names.iter().map(|name| git_dir.join(name)).filter(|path| path.is_symlink());
    let below = [objects.clone(), objects.join("pack")].into_iter().flat_map(|folder| links(&folder));
    let mut borrowed = Vec::new();
    alternates(&objects, DEEP, &mut borrowed);
    named.chain(below).chain(borrowed).find(is_others)
}

fn links(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())).map(|entry| entry.path()).collect()
}

fn alternates(objects: &Path, deep: usize, found: &mut Vec<PathBuf>) {
    let bytes = fs::read(objects.join("info/alternates")).unwrap_or_default();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#")) {
        let path = objects.join(OsStr::from_bytes(line));
        if deep > 0 && !found.contains(&path) {
            found.push(path.clone());
            found.extend(links(&path).into_iter().chain(links(&path.join("pack"))));
            alternates(&path, deep - 1, found);
        }
    }
}
