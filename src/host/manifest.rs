//! What was put into a repository, written down so that it can be taken out again exactly.
//!
//! The manifest is `agent/hooks.json` in the git directory. It is written before the first hook is touched and
//! removed after the last one is back, so it always knows at least as much as was done. What was there before is
//! kept as the very same file under `agent/before/`; the manifest tells how to recognise it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dir::{Dir, Entry};
use super::{Error, shim};
use crate::text::hex;

/// The folder of ours in a git directory.
pub(super) const FOLDER: &str = "agent";
const FILE: &str = "hooks.json";
const FORMAT: u32 = 2;

/// All that was put into one repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: u32,
    /// Relative to the git directory, so that a moved repository keeps its manifest.
    pub(super) hooks_dir: String,
    /// The hooks directory was missing and goes again when it is empty.
    pub(super) made_hooks_dir: bool,
    /// SHA-256 of the config before the repository had an id; the config may hold passwords, so its text is not kept.
    pub(super) config: Option<String>,
    pub(super) hooks: BTreeMap<String, Hook>,
    /// Somebody chose these of our hooks; else the others are lacking.
    #[serde(default)]
    pub(super) only: bool,
}

/// One hook of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hook {
    /// SHA-256 of the shim or of the link's target, and of what it renews: a crash between the two leaves either.
    pub(super) ours: Vec<String>,
    pub(super) shim: u32,
    pub(super) before: Option<Before>,
}

/// The hook that was there before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "lowercase")]
pub(super) enum Before {
    File { saved: String, mode: u32, sha256: String },
    Symlink { saved: String, target: String, sha256: String },
}

/// What stands in a hook's place, compared with what we know of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found {
    Absent,
    /// Exactly a shim of ours, the newest or an older one.
    Ours,
    /// The hook that was there before: putting ours in was interrupted.
    Before,
    /// It bears our mark, but somebody changed it.
    Edited,
    Foreign,
}

impl Manifest {
    pub(super) fn new(hooks_dir: String, made_hooks_dir: bool, config: Option<String>) -> Self {
        Self { format: FORMAT, hooks_dir, made_hooks_dir, config, hooks: BTreeMap::new(), only: false }
    }

    /// Where the manifest of a git directory is, if there is one.
    pub(super) fn path(git_dir: &Path) -> PathBuf {
        git_dir.join(FOLDER).join(FILE)
    }

    /// Reads the manifest of the git directory `common`, if hooks were put there.
    pub(super) fn load(common: &Dir) -> Result<Option<Self>, Error> {
        let Some(folder) = common.below(FOLDER.as_ref())? else {
            return Ok(None);
        };
        let path = folder.path().join(FILE);
        let bytes = match folder.entry(FILE)? {
            None => return Ok(None),
            Some(Entry::File { bytes, .. }) => bytes,
            Some(_) => return Err(Error::Obstacle(path)),
        };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let broken = |source| Error::Manifest { path: path.clone(), source };
        match serde_json::from_slice(&bytes).map_err(&broken)? {
            Format { format: 1..=FORMAT } => {
                let manifest: Manifest = serde_json::from_slice(&bytes).map_err(broken)?;
                Ok(Some(Manifest { format: FORMAT, ..manifest }))
            }
            Format { format } => Err(Error::NewerManifest { path, format, known: FORMAT }),
        }
    }

    /// Whether all that was put there are links to hooks in a folder for many repositories.
    pub(super) fn has_only_links_into(&self, folder: &Path) -> bool {
        self.hooks.iter().all(|(name, hook)| hook.ours.contains(&sha256_of_link(&folder.join(name))))
    }

    pub(super) fn save(&self, folder: &Dir) -> Result<(), Error> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("every key of the manifest is a string");
        bytes.push(b'\n');
        let mode = folder.stat()?.st_mode & 0o666;
        folder.put(FILE, &bytes, mode)
    }

    pub(super) fn remove(folder: &Dir) -> Result<(), Error> {
        folder.remove_temporary(FILE)?;
        folder.remove(FILE)
    }
}

impl Before {
    /// Describes what is about to be kept, `None` for what no hook can be.
    pub(super) fn of(name: &str, entry: &Entry) -> Option<Self> {
        Some(match entry {
            Entry::File { bytes, mode } => Self::File { saved: name.into(), mode: *mode, sha256: sha256(bytes) },
            // A relative link means something else from another folder. It is kept for the way back; a second one
            // that means the same stands beside it under the hook's name.
            Entry::Symlink { target } => Self::Symlink {
                saved: format!("{name}.link"),
                target: target.display().to_string(),
                sha256: sha256(target.as_os_str().as_bytes()),
            },
            Entry::Other => return None,
        })
    }

    /// The name under `agent/before/`.
    pub(super) fn saved(&self) -> &str {
        match self {
            Self::File { saved, .. } | Self::Symlink { saved, .. } => saved,
        }
    }

    /// Tells whether `entry` is that hook, by kind and bytes.
    pub(super) fn is(&self, entry: &Entry) -> bool {
        match (self, entry) {
            (Self::File { sha256: known, .. }, Entry::File { bytes, .. }) => *known == sha256(bytes),
            (Self::Symlink { sha256: known, .. }, Entry::Symlink { target }) => {
                *known == sha256(target.as_os_str().as_bytes())
            }
            _ => false,
        }
    }
}

/// Compares what stands in the place of the hook `name` with what the manifest says of it.
pub(super) fn compare(name: &'static str, entry: Option<&Entry>, known: Option<&Hook>) -> Found {
    let Some(entry) = entry else { return Found::Absent };
    let before = known.and_then(|hook| hook.before.as_ref());
    match entry {
        Entry::File { bytes, .. } if known.is_some_and(|hook| hook.ours.contains(&sha256(bytes))) => Found::Ours,
        Entry::Symlink { target } if known.is_some_and(|hook| hook.ours.contains(&sha256_of_link(target))) => {
            Found::Ours
        }
        entry if before.is_some_and(|before| before.is(entry)) => Found::Before,
        Entry::Symlink { target } if shim::is_link(name, target) => Found::Ours,
        Entry::File { bytes, .. } => match shim::read(name, bytes) {
            // Its manifest is lost, or it was copied with the repository: unedited it is ours all the same.
            Some((shim::VERSION, Some(shim))) if shim.render() == *bytes => Found::Ours,
            Some(_) => Found::Edited,
            None => Found::Foreign,
        },
        _ => Found::Foreign,
    }
}

pub(super) fn sha256_of_link(target: &Path) -> String {
    sha256(&[b"-> ", target.as_os_str().as_bytes()].concat())
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
