//! How the hooks of a repository stand; nothing here changes anything.

use std::path::{Path, PathBuf};

use super::dir::{Dir, Entry};
use super::drop_in::DropIn;
use super::everywhere::{self, Configured, runs_configured};
use super::kind::Kind;
use super::manifest::{FOLDER, Found, Manifest, compare};
use super::place::{Git, HooksDir};
use super::standby::STANDBY;
use super::tool::{self, Other};
use super::{Error, Place, SITE_HOOKS, Way, has_hooks, open, parent, shim, way};

/// One hook as [`Look::hooks`] finds it.
#[derive(Debug, PartialEq)]
pub(crate) struct HookState {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) owner: Owner,
    /// What keeps it from firing; empty for a hook that does, and for one that is not ours.
    pub(crate) hindrances: Vec<Hindrance>,
}

impl HookState {
    /// Whether it lies ready and is not among the others at the moment.
    pub(crate) fn stands_by(&self) -> bool {
        matches!(self.owner, Owner::Ours { .. }) && parent(&self.path).ends_with(FOLDER)
    }

    /// Says what a hook stands by for.
    pub(crate) fn until(hook: &str) -> &'static str {
        match hook {
            "prepare-commit-msg" => "stands by while no keys are put into messages",
            "commit-msg" => "stands by until a message is written in an editor: prepare-commit-msg speaks for it",
            _ => "stands by until a push",
        }
    }
}

/// Whose hook it is.
#[derive(Debug, PartialEq)]
pub(crate) enum Owner {
    Ours {
        version: u32,
        agent: PathBuf,
        chained: bool,
        /// `install` would write it anew.
        stale: bool,
    },
    /// It is ours and stands in Git's configuration, for all clones of a server.
    Configured {
        agent: PathBuf,
    },
    /// It bears our mark, but somebody edited it.
    Changed,
    Foreign,
    Absent,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Hindrance {
    NotExecutable,
    /// `core.hooksPath` makes git look here instead.
    HooksPathElsewhere(PathBuf),
    AgentMissing(PathBuf),
    /// It stands in the configuration under this name, and somebody switched it off there.
    SwitchedOff(String),
    /// It stands in the configuration, and the Git that is found first is too old to run it: this version.
    OldGit(String),
}

/// One look at a repository: Git is asked each question once.
pub(crate) struct Look<'a> {
    git: Git,
    git_dir: &'a Path,
}

impl<'a> Look<'a> {
    pub(crate) fn at(git_dir: &'a Path) -> Look<'a> {
        Look { git: Git::remembering(), git_dir }
    }

    /// Whether others push to a repository, or somebody works in it.
    pub(crate) fn place(&self) -> Result<Place, Error> {
        self.git.place(self.git_dir)
    }

    /// The folder in which Git looks for hooks, and the scope that says so where it is not the usual one.
    pub(crate) fn hooks_dir(&self) -> Result<(PathBuf, Option<String>), Error> {
        let hooks = self.place_of_hooks()?;
        Ok((hooks.path, hooks.scope))
    }

    fn place_of_hooks(&self) -> Result<HooksDir, Error> {
        self.git.hooks_dir(self.git_dir, self.place()?)
    }

    /// Which program serves a repository.
    pub(crate) fn kind(&self) -> Result<Kind, Error> {
        Ok(Kind::of(self.git_dir, &self.place_of_hooks()?))
    }

    /// The folder of hooks by which a host serves many repositories with one file of ours.
    pub(crate) fn shared_hooks(&self) -> Result<Option<PathBuf>, Error> {
        let hooks_dir = self.place_of_hooks()?;
        match Kind::of(self.git_dir, &hooks_dir).way(&self.git, self.git_dir, &hooks_dir) {
            Ok(Way::DropIn(DropIn { dir, shared: true, .. }) | Way::Site(dir) | Way::Common(dir)) => Ok(Some(dir)),
            Ok(_) | Err(Error::NotByFile(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The hooks in Git's configuration.
    pub(crate) fn configured(&self) -> Result<Vec<Configured>, Error> {
        everywhere::configured_with(&self.git, self.git_dir)
    }

    /// How our hooks stand.
    pub(crate) fn hooks(&self) -> Result<Vec<HookState>, Error> {
        let mut found = inspect_with(&self.git, self.git_dir)?;
        if self.place()? == Place::Clone {
            look_beside(&self.git, self.git_dir, &mut found)?;
        }
        Ok(found)
    }

    /// All hooks of others that Git or ours would start, or that lie there aside.
    pub(crate) fn others(&self) -> Result<Vec<Other>, Error> {
        tool::others(self.git_dir, &self.place_of_hooks()?.path)
    }
}

/// Whether Git starts a file of ours for a hook of a clone, so that one in its configuration has nothing to do.
pub(crate) fn is_served_by_file(git_dir: &Path, hook: &str) -> bool {
    let files = || inspect_with(&Git::default(), git_dir);
    has_hooks(git_dir) && files().is_ok_and(|files| files.iter().any(|one| one.name == hook && fires(one)))
}

/// Where Git does not come to a file of ours, a hook in its configuration may serve the clone.
fn look_beside(git: &Git, git_dir: &Path, found: &mut [HookState]) -> Result<(), Error> {
    if found.iter().all(fires) {
        return Ok(());
    }
    let configured = everywhere::configured_with(git, git_dir)?;
    let mut version = None;
    for hook in found.iter_mut().filter(|hook| !fires(hook)) {
        let is_its = |one: &&Configured| one.ours && one.events.iter().any(|event| event == hook.name);
        let Some(one) = configured.iter().find(is_its) else { continue };
        let version: &String = match &version {
            Some(version) => version,
            None => version.insert(git.version()?),
        };
        let agent = one.agent(hook.name);
        let missing = |agent: &PathBuf| rustix::fs::access(agent, rustix::fs::Access::EXEC_OK).is_err();
        hook.path = one.shim(hook.name);
        hook.hindrances = match &agent {
            None => vec![Hindrance::AgentMissing(hook.path.clone())],
            Some(agent) if missing(agent) => vec![Hindrance::AgentMissing(agent.clone())],
            Some(_) => Vec::new(),
        };
        if !one.enabled {
            hook.hindrances.push(Hindrance::SwitchedOff(one.name.clone()));
        }
        if !runs_configured(version) {
            hook.hindrances.push(Hindrance::OldGit(version.clone()));
        }
        hook.owner = Owner::Configured { agent: agent.unwrap_or_default() };
    }
    Ok(())
}

/// Whether Git starts a file of ours.
fn fires(hook: &HookState) -> bool {
    matches!(hook.owner, Owner::Ours { .. }) && hook.hindrances.is_empty()
}

pub(super) fn inspect_with(git: &Git, git_dir: &Path) -> Result<Vec<HookState>, Error> {
    let common = open(git_dir)?;
    let place = git.place(common.path())?;
    if let Ok(hooks_dir) = git.hooks_dir(common.path(), place) {
        match way(git, &common, &hooks_dir)? {
            Way::Files => {}
            Way::DropIn(drop_in) => return drop_in.look(),
            Way::Common(folder) => {
                let mut found = inspect_at(&Dir::open(parent(&folder))?, place.hooks(), folder.clone())?;
                for hook in &mut found {
                    let link = common.path().join("hooks").join(hook.name);
                    if std::fs::read_link(&link).ok() != Some(folder.join(hook.name)) {
                        hook.owner = Owner::Absent;
                    }
                }
                return Ok(found);
            }
            Way::Site(folder) => return inspect_at(&Dir::open(parent(&folder))?, &SITE_HOOKS, folder),
        }
    }
    let fires = match git.hooks_dir(common.path(), place) {
        Ok(hooks_dir) => hooks_dir.path,
        Err(Error::EmptyHooksPath { .. }) => PathBuf::new(),
        Err(error) => return Err(error),
    };
    inspect_at(&common, place.hooks(), fires)
}

pub(super) fn inspect_at(common: &Dir, names: &[&'static str], fires: PathBuf) -> Result<Vec<HookState>, Error> {
    let manifest = Manifest::load(common)?;
    let here = match &manifest {
        Some(manifest) => common.path().join(&manifest.hooks_dir),
        None => fires.canonicalize().unwrap_or_else(|_| common.path().join("hooks")),
    };
    let elsewhere = (fires.canonicalize().ok() != here.canonicalize().ok()).then_some(fires);
    let hooks_dir = if here.is_dir() { Some(Dir::open(&here)?) } else { None };
    let folder = common.below(FOLDER.as_ref())?;
    let look = |name: &&'static str| {
        let (mut dir, mut at) = (hooks_dir.as_ref(), here.clone());
        let is_absent = dir.map(|dir| dir.entry(name)).transpose()?.flatten().is_none();
        if let Some(folder) = folder.as_ref().filter(|_| is_absent && STANDBY.contains(name)) {
            (dir, at) = (Some(folder), folder.path().to_owned());
        }
        look_at(name, &at, dir, manifest.as_ref(), elsewhere.as_deref())
    };
    // Where only some were wanted, the others lack nowhere.
    let wanted = |name: &&&'static str| match &manifest {
        Some(manifest) if manifest.only => manifest.hooks.contains_key(**name),
        _ => true,
    };
    names.iter().filter(wanted).map(look).collect()
}

fn look_at(
    name: &'static str,
    here: &Path,
    hooks_dir: Option<&Dir>,
    manifest: Option<&Manifest>,
    elsewhere: Option<&Path>,
) -> Result<HookState, Error> {
    let entry = hooks_dir.map(|dir| dir.entry(name)).transpose()?.flatten();
    let found = compare(name, entry.as_ref(), manifest.and_then(|manifest| manifest.hooks.get(name)));
    let mut hindrances = Vec::new();
    let mut path = here.join(name);
    let owner = match (found, &entry) {
        (Found::Absent, _) => Owner::Absent,
        (Found::Ours, Some(Entry::File { bytes, .. })) => match shim::read(name, bytes) {
            Some((version, Some(shim))) => Owner::Ours {
                version,
                chained: shim.before.is_some(),
                stale: shim.render() != *bytes,
                agent: shim.agent,
            },
            _ => Owner::Changed,
        },
        (Found::Ours, Some(Entry::Symlink { target })) => {
            if rustix::fs::access(target, rustix::fs::Access::EXEC_OK).is_err() {
                hindrances.push(Hindrance::AgentMissing(target.clone()));
            }
            Owner::Ours { version: shim::VERSION, chained: false, stale: false, agent: shim::agent_of(target) }
        }
        (Found::Edited, _) => Owner::Changed,
        _ => {
            // Another tool put ours aside; where it goes on running it there, it is as good.
            let known = manifest.and_then(|manifest| manifest.hooks.get(name));
            let aside = hooks_dir.map(|dir| tool::put_aside(dir, name, known)).transpose()?.flatten();
            if let (Some((aside, true)), Some(dir)) = (aside, hooks_dir)
                && let Some(Entry::File { bytes, .. }) = dir.entry(&aside)?
                && let Some((version, Some(shim))) = shim::read(name, &bytes)
            {
                path = here.join(aside);
                Owner::Ours { version, chained: shim.before.is_some(), stale: false, agent: shim.agent }
            } else {
                Owner::Foreign
            }
        }
    };
    if let (Owner::Ours { .. } | Owner::Changed, Some(entry)) = (&owner, &entry) {
        if matches!(entry, Entry::File { mode, .. } if mode & 0o111 == 0) {
            hindrances.push(Hindrance::NotExecutable);
        }
        hindrances.extend(elsewhere.map(|dir| Hindrance::HooksPathElsewhere(dir.into())));
    }
    if let Owner::Ours { agent, .. } = &owner
        && hindrances.iter().all(|hindrance| !matches!(hindrance, Hindrance::AgentMissing(_)))
        && rustix::fs::access(agent, rustix::fs::Access::EXEC_OK).is_err()
    {
        hindrances.push(Hindrance::AgentMissing(agent.clone()));
    }
    Ok(HookState { name, path, owner, hindrances })
}
