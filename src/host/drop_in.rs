//! A file of ours among the hooks of a host that runs whole folders of them.
//!
//! The host makes `pre-receive.d` and `post-receive.d` and runs what lies there with the hook's own input. Our file bears a name
//! of its own, so nothing was there before, and it is taken out only while it is exactly ours. Where the folders
//! serve many repositories, one file serves all of them.

use std::path::{Path, PathBuf};

use super::dir::{Dir, Entry};
use super::shim::{self, Shim};
use super::{Error, Hindrance, HookChange, HookReport, HookState, Outcome, Owner, Place};

/// Ours is the last of a folder.
pub(crate) const FILE: &str = "zz-agent";

/// Tells what is to become of each file, and writes nothing.
pub(super) fn plan(hooks: &Path, agent: &Path) -> Result<Vec<HookReport>, Error> {
    let report = |(name, folder): (&'static str, Dir)| -> Result<HookReport, Error> {
        let state = match folder.entry(FILE)? {
            None => HookChange::Put,
            Some(entry) => match exactly_ours(name, &entry) {
                Some((_, shim)) if shim.agent == agent => HookChange::AlreadyThere,
                Some(_) => HookChange::Renewed,
                None => return Err(Error::Edited(folder.path().join(FILE))),
            },
        };
        Ok(HookReport { name, chained: false, state })
    };
    folders(hooks)?.into_iter().map(report).collect()
}

pub(super) fn put(hooks: &Path, agent: &Path) -> Result<Vec<HookReport>, Error> {
    let _lock = Dir::open(hooks)?.lock()?;
    let reports = plan(hooks, agent)?;
    for (name, folder) in folders(hooks)? {
        if reports.iter().any(|report| report.name == name && report.state != HookChange::AlreadyThere) {
            folder.put(FILE, &rendered(name, agent), 0o755)?;
        }
    }
    Ok(reports)
}

pub(super) fn take_out(hooks: &Path) -> Result<Vec<(PathBuf, Outcome)>, Error> {
    let _lock = Dir::open(hooks)?.lock()?;
    let mut outcomes = Vec::new();
    for (name, folder) in folders(hooks)? {
        folder.remove_temporary(FILE)?;
        let Some(entry) = folder.entry(FILE)? else { continue };
        let outcome = match exactly_ours(name, &entry) {
            Some(_) => {
                folder.remove(FILE)?;
                Outcome::Removed
            }
            None => Outcome::Left { because: "it was edited".into() },
        };
        outcomes.push((folder.path().join(FILE), outcome));
    }
    Ok(outcomes)
}

pub(super) fn look(hooks: &Path) -> Result<Vec<HookState>, Error> {
    let look = |(name, folder): (&'static str, Dir)| -> Result<HookState, Error> {
        let entry = folder.entry(FILE)?;
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
        Ok(HookState { name, path: folder.path().join(FILE), owner, hindrances })
    };
    folders(hooks)?.into_iter().map(look).collect()
}

/// The folders that the host made for the hooks that are ours.
fn folders(hooks: &Path) -> Result<Vec<(&'static str, Dir)>, Error> {
    let hooks = Dir::open(hooks)?;
    let mut folders = Vec::new();
    for name in Place::Server.hooks() {
        if let Some(folder) = hooks.below(Path::new(&format!("{name}.d")))? {
            folders.push((*name, folder));
        }
    }
    Ok(folders)
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
