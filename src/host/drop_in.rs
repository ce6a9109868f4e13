//! A file of ours among the hooks of a host that runs whole folders of them.
//!
//! The host runs what lies in `pre-receive.d` and `post-receive.d`, with the hook's own input. Our file bears a name
//! of its own, so nothing was there before, and it is taken out only while it is exactly ours. Where the folders
//! serve many repositories, one file serves all of them. Some hosts make these folders themselves; where it is ours to
//! make one, a mark in it says so, and it goes again with our file when nobody else keeps something in it.

use std::path::{Path, PathBuf};

use super::dir::{Dir, Entry};
use super::hooks::check_writers;
use super::shim::{self, Shim};
use super::{Error, Hindrance, HookChange, HookReport, HookState, Outcome, Owner, Place, parent};

/// Ours is the last of a folder.
pub(crate) const FILE: &str = "zz-agent";
/// Lies in a folder that we made. No host runs it, for it is not executable.
const MADE: &str = ".made-by-agent";

/// The folder that holds the folders of hooks.
#[derive(Clone, Debug)]
pub(super) struct DropIn {
    pub(super) dir: PathBuf,
    /// It serves many repositories.
    pub(super) shared: bool,
    /// What is missing of it is ours to make.
    pub(super) makes: bool,
}

impl DropIn {
    /// Tells what is to become of each file, and writes nothing; `bits` may be writable by others.
    pub(super) fn plan(&self, agent: &Path, bits: u32) -> Result<Vec<HookReport>, Error> {
        let bits = if self.shared { 0 } else { bits };
        if let Some(hooks) = self.open()? {
            check_writers(&hooks, bits)?;
        }
        let report = |(name, folder): (&'static str, Option<Dir>)| -> Result<HookReport, Error> {
            if let Some(folder) = &folder {
                check_writers(folder, bits)?;
            }
            let state = match folder.as_ref().map(|folder| folder.entry(FILE)).transpose()?.flatten() {
                None => HookChange::Put,
                Some(entry) => match exactly_ours(name, &entry) {
                    Some((_, shim)) if shim.agent == agent => HookChange::AlreadyThere,
                    Some(_) => HookChange::Renewed,
                    None => return Err(Error::Edited(self.dir.join(format!("{name}.d")).join(FILE))),
                },
            };
            Ok(HookReport { name, chained: false, state })
        };
        self.folders()?.into_iter().map(report).collect()
    }

    pub(super) fn put(&self, agent: &Path, bits: u32) -> Result<(), Error> {
        let hooks = match self.open()? {
            Some(hooks) => hooks,
            None => {
                let above = Dir::open(parent(&self.dir))?;
                let name = self.dir.file_name().and_then(std::ffi::OsStr::to_str);
                made(&above, name.ok_or_else(|| Error::Obstacle(self.dir.clone()))?)?
            }
        };
        let _lock = hooks.lock()?;
        let reports = self.plan(agent, bits)?;
        for report in reports.iter().filter(|report| report.state != HookChange::AlreadyThere) {
            let name = format!("{}.d", report.name);
            let folder = match hooks.below(Path::new(&name))? {
                Some(folder) => folder,
                None => made(&hooks, &name)?,
            };
            folder.put(FILE, &rendered(report.name, agent), 0o755)?;
        }
        Ok(())
    }

    pub(super) fn look(&self) -> Result<Vec<HookState>, Error> {
        let look = |(name, folder): (&'static str, Option<Dir>)| -> Result<HookState, Error> {
            let entry = folder.map(|folder| folder.entry(FILE)).transpose()?.flatten();
            let owner = match entry.as_ref().map(|entry| exactly_ours(name, entry)) {
                None => Owner::Absent,
                Some(None) => Owner::Changed,
                Some(Some((version, shim))) => Owner::Ours { version, chained: false, stale: false, agent: shim.agent },
            };
            let mut hindrances = Vec::new();
            if matches!(entry, Some(Entry::File { mode, .. }) if mode & 0o111 == 0) {
                hindrances.push(Hindrance::NotExecutable);
            }
            if let Owner::Ours { agent, .. } = &owner
                && rustix::fs::access(agent, rustix::fs::Access::EXEC_OK).is_err()
            {
                hindrances.push(Hindrance::AgentMissing(agent.clone()));
            }
            Ok(HookState { name, path: self.dir.join(format!("{name}.d")).join(FILE), owner, hindrances })
        };
        self.folders()?.into_iter().map(look).collect()
    }

    fn open(&self) -> Result<Option<Dir>, Error> {
        if self.makes && !self.dir.exists() { Ok(None) } else { Dir::open(&self.dir).map(Some) }
    }

    /// The folders for the hooks that are ours, and those that we have to make.
    fn folders(&self) -> Result<Vec<(&'static str, Option<Dir>)>, Error> {
        let hooks = self.open()?;
        let mut folders = Vec::new();
        for name in Place::Server.hooks() {
            let below = |hooks: &Dir| hooks.below(Path::new(&format!("{name}.d")));
            let folder = hooks.as_ref().map(below).transpose()?.flatten();
            if self.makes || folder.is_some() {
                folders.push((*name, folder));
            }
        }
        Ok(folders)
    }
}

/// Takes our files out of a folder of hooks, and what we made for them.
pub(super) fn take_out(hooks: &Path) -> Result<Vec<(PathBuf, Outcome)>, Error> {
    let mut outcomes = Vec::new();
    if !hooks.exists() {
        return Ok(outcomes);
    }
    let dir = Dir::open(hooks)?;
    let _lock = dir.lock()?;
    for name in Place::Server.hooks() {
        let name_of_folder = format!("{name}.d");
        let Some(folder) = dir.below(Path::new(&name_of_folder))? else { continue };
        folder.remove_temporary(FILE)?;
        if let Some(entry) = folder.entry(FILE)? {
            let outcome = match exactly_ours(name, &entry) {
                Some(_) => {
                    folder.remove(FILE)?;
                    Outcome::Removed
                }
                None => Outcome::Left { because: "it was edited".into() },
            };
            outcomes.push((folder.path().join(FILE), outcome));
        }
        unmake(&dir, &folder, &name_of_folder)?;
    }
    if let (Some(name), Ok(above)) = (hooks.file_name().and_then(std::ffi::OsStr::to_str), Dir::open(parent(hooks))) {
        unmake(&above, &dir, name)?;
    }
    Ok(outcomes)
}

fn made(above: &Dir, name: &str) -> Result<Dir, Error> {
    let folder = above.make(name)?;
    folder.put(MADE, b"", 0o644)?;
    Ok(folder)
}

/// Removes a folder that we made, once nothing but our mark is in it.
fn unmake(above: &Dir, folder: &Dir, name: &str) -> Result<(), Error> {
    if folder.names()? == [MADE] {
        folder.remove(MADE)?;
        above.remove_empty(Path::new(name))?;
    }
    Ok(())
}

fn rendered(name: &'static str, agent: &Path) -> Vec<u8> {
    Shim { hook: name, agent: agent.into(), before: None }.render()
}

/// Reads a file of ours that nobody edited.
fn exactly_ours(name: &'static str, entry: &Entry) -> Option<(u32, Shim)> {
    let Entry::File { bytes, .. } = entry else { return None };
    let (version, shim) = shim::read(name, bytes)?;
    let shim = shim?;
    (shim.render() == *bytes).then_some((version, shim))
}
