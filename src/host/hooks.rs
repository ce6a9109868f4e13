//! The hooks of one repository while they are being changed: look, decide, act.

use std::path::{Path, PathBuf};

use super::dir::{Dir, Entry, Lock};
use super::manifest::{Before, FOLDER, Found, Hook, Manifest, compare, sha256};
use super::passage;
use super::place::Git;
use super::shim::{self, Shim, Stand};
use super::standby::{PUSHING, STANDBY, stand_down};
use super::tool::{self, Tool};
use super::{ALL, Error, FIRED, HookChange, HookReport, Identity, Outcome, TAKEN_UP};

/// The hooks of one repository, and the lock on them.
pub(super) struct Hooks {
    common: Dir,
    /// Relative to the git directory.
    dir: String,
    manifest: Option<Manifest>,
    /// Its hooks are called by links from elsewhere.
    linked: bool,
    _lock: Lock,
}

/// What is to be done about one hook.
pub(super) struct Plan {
    name: &'static str,
    stand: Stand,
    state: HookChange,
    before: Option<Before>,
    /// The hook that stands there has still to be kept.
    keep: bool,
    /// What was kept before is an older hook of the tool whose hook stands there now.
    outdated: bool,
    /// Where a tool put ours aside that does not run it there.
    aside: Option<String>,
}

const BEFORE: &str = "before";
/// What the hooks keep beside our manifest: tips handed over, a push under way, pushes that were told, a mark that one was
/// not, one that a policy holds, one that none does, what a person accepted of a team, the way to a daemon, and more.
const KEPT_BY_HOOKS: [&str; 15] = [
    "told",
    PUSHING,
    "pushing.agent",
    "pushed",
    "dirty",
    "config",
    "policy",
    "plain",
    "name",
    "scanned",
    "place",
    "trusted",
    "door",
    "drop",
    TAKEN_UP,
];
/// What git may leave of an entry it has taken out: it ends a line that had no end, and it keeps the heading of an
/// empty section that stands below a comment.
const LEFT_BY_GIT: [&[u8]; 4] = [b"", b"\n", b"[agent]\n", b"\n[agent]\n"];
pub(super) const EXECUTABLE: u32 = 0o755;

impl Hooks {
    /// Locks the hooks of a git directory; without `dir` they are where the manifest says, else in the usual place.
    pub(super) fn lock(common: Dir, dir: Option<String>) -> Result<Self, Error> {
        let lock = common.lock()?;
        let manifest = Manifest::load(&common)?;
        let put = manifest.as_ref().map(|manifest| manifest.hooks_dir.clone());
        let dir = dir.or(put).unwrap_or_else(|| "hooks".into());
        Ok(Self { common, dir, manifest, linked: false, _lock: lock })
    }

    /// The same for a folder whose hooks are called by links from elsewhere.
    pub(super) fn lock_linked(common: Dir, dir: String) -> Result<Self, Error> {
        Ok(Self { linked: true, ..Self::lock(common, Some(dir))? })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.common.path().join(&self.dir)
    }

    pub(super) fn git_dir(&self) -> &Path {
        self.common.path()
    }

    /// The hash of the config from before the repository had an id, where one was kept.
    pub(super) fn config_before(&self) -> Option<String> {
        self.manifest.as_ref()?.config.clone()
    }

    fn hooks_dir(&self) -> Result<Option<Dir>, Error> {
        self.common.below(self.dir.as_ref())
    }

    fn folder(&self) -> Result<Option<Dir>, Error> {
        self.common.below(FOLDER.as_ref())
    }

    fn before_dir(&self) -> Result<Option<Dir>, Error> {
        self.common.below(&Path::new(FOLDER).join(BEFORE))
    }

    /// What lies ready for a hook that stands by.
    fn ready(&self, name: &str) -> Result<Option<Entry>, Error> {
        let folder = self.folder()?.filter(|_| STANDBY.contains(&name));
        Ok(folder.map(|folder| folder.entry(name)).transpose()?.flatten())
    }

    fn known(&self, name: &str) -> Option<&Hook> {
        self.manifest.as_ref()?.hooks.get(name)
    }

    /// Leads from `agent/before/` to the hooks directory.
    fn way_back(&self) -> PathBuf {
        Path::new("../..").join(&self.dir)
    }

    /// Refuses a directory that is not the one we know, or that strangers may write to.
    pub(super) fn check_place(&self, shared: u32) -> Result<(), Error> {
        if let Some(manifest) = &self.manifest
            && manifest.hooks_dir != self.dir
        {
            let [installed, now] = [&manifest.hooks_dir, &self.dir].map(|dir| self.common.path().join(dir));
            return Err(Error::Moved { installed, now });
        }
        check_writers(&self.common, shared)?;
        for dir in [self.hooks_dir()?, self.folder()?, self.before_dir()?].into_iter().flatten() {
            check_writers(&dir, shared)?;
        }
        Ok(())
    }

    /// Decides what to do about one hook, and refuses what must not be done.
    pub(super) fn plan(&self, name: &'static str, agent: &Path) -> Result<Plan, Error> {
        let hooks_dir = self.hooks_dir()?;
        let entry = hooks_dir.as_ref().map(|dir| dir.entry(name)).transpose()?.flatten();
        let found = compare(name, entry.as_ref(), self.known(name));
        let path = self.path().join(name);
        let mut outdated = false;
        let aside = hooks_dir.as_ref().map(|dir| tool::put_aside(dir, name, self.known(name))).transpose()?.flatten();
        let (before, keep) = match (found, &entry) {
            (Found::Edited, _) => return Err(Error::Edited(path)),
            // The tool runs ours where it put it.
            (Found::Foreign, Some(_)) if matches!(aside, Some((_, true))) => {
                let shim = Shim { hook: name, agent: agent.into(), before: None };
                let state = HookChange::AlreadyThere;
                let before = self.kept(name, None)?;
                let stand = Stand::choose(shim, false);
                return Ok(Plan { name, stand, state, before, keep: false, outdated: false, aside: None });
            }
            (Found::Foreign, Some(entry)) => {
                outdated = self.is_put_again(name, &path, entry)?;
                if !outdated {
                    self.check_not_replaced(name, &path)?;
                }
                (Some(Before::of(name, entry).ok_or(Error::Obstacle(path))?), true)
            }
            (Found::Before, _) => (self.kept(name, None)?, true),
            (_, entry) => (self.kept(name, entry.as_ref())?, false),
        };
        let steps = Path::new(&self.dir).components().count();
        let way = |_: &Before| match self.linked {
            true => format!("{}/{FOLDER}/{BEFORE}/{name}", self.common.path().display()),
            false => format!("{}{FOLDER}/{BEFORE}/{name}", "../".repeat(steps)),
        };
        let ready = self.ready(name)?;
        let shim = Shim { hook: name, agent: agent.into(), before: before.as_ref().map(way) };
        let stand = Stand::choose(shim, ready.is_some() && entry.is_none());
        let is_ready = !matches!(stand, Stand::Standby(_)) || ready.as_ref().is_some_and(|ready| stand.is(ready));
        let state = match &entry {
            Some(entry) if is_ready && stand.is(entry) => HookChange::AlreadyThere,
            None if is_ready && ready.is_some() && before.is_none() => HookChange::AlreadyThere,
            Some(_) if found == Found::Ours => HookChange::Renewed,
            None if ready.is_some() => HookChange::Renewed,
            _ => HookChange::Put,
        };
        let aside = aside.filter(|_| keep).map(|(aside, _)| aside);
        Ok(Plan { name, stand, state, before, keep, outdated, aside })
    }

    /// Whether a tool that we know put its hook where ours stood in front of an older one of its own.
    fn is_put_again(&self, name: &'static str, path: &Path, entry: &Entry) -> Result<bool, Error> {
        let Entry::File { bytes, .. } = entry else { return Ok(false) };
        let tool = Tool::of(path, bytes);
        let Some(kept) = self.known(name).and_then(|hook| hook.before.as_ref()) else { return Ok(false) };
        let kept = self.before_dir()?.map(|dir| dir.entry(kept.saved())).transpose()?.flatten();
        let Some(Entry::File { bytes: kept, .. }) = kept else { return Ok(false) };
        Ok(tool != Tool::Unknown && Tool::of(path, &kept) == tool)
    }

    /// Plans a link to a hook of ours that stands for all repositories.
    pub(super) fn plan_link(&self, name: &'static str, target: &Path) -> Result<Plan, Error> {
        let stand = Stand::Link(target.into());
        let entry = self.hooks_dir()?.map(|dir| dir.entry(name)).transpose()?.flatten();
        let state = match &entry {
            Some(entry) if stand.is(entry) => HookChange::AlreadyThere,
            _ => HookChange::Put,
        };
        Ok(Plan { name, stand, state, before: None, keep: false, outdated: false, aside: None })
    }

    /// Refuses to keep a second hook under one name, and to stand in front of a hook that will run ours again.
    fn check_not_replaced(&self, name: &'static str, path: &Path) -> Result<(), Error> {
        if let Some(before) = self.known(name).and_then(|hook| hook.before.as_ref())
            && let Some(dir) = self.before_dir()?
            && dir.entry(before.saved())?.is_some()
        {
            return Err(Error::Replaced { hook: path.into(), saved: dir.path().join(before.saved()) });
        }
        let Some(dir) = self.hooks_dir()? else { return Ok(()) };
        // Where lefthook puts what it finds, nothing is run any more.
        let never = |other: &str| matches!(tool::ASIDE.iter().find(|(end, _)| other.ends_with(end)), Some((_, false)));
        for other in dir.names()? {
            let Some(other) = other.to_str().filter(|other| other.starts_with(&format!("{name}."))) else {
                continue;
            };
            if never(other) && compare(name, dir.entry(other)?.as_ref(), self.known(name)) == Found::Ours {
                continue;
            }
            if let Some(Entry::File { bytes, .. }) = dir.entry(other)?
                && shim::read(name, &bytes).is_some()
            {
                return Err(Error::PutAside { hook: path.into(), aside: dir.path().join(other) });
            }
        }
        Ok(())
    }

    /// The hook kept for `name`: as the manifest says, or as a shim says whose manifest is lost.
    fn kept(&self, name: &'static str, entry: Option<&Entry>) -> Result<Option<Before>, Error> {
        if let Some(hook) = self.known(name) {
            return Ok(hook.before.clone());
        }
        let Some(Entry::File { bytes, .. }) = entry else {
            return Ok(None);
        };
        let chained = shim::read(name, bytes).and_then(|(_, shim)| shim?.before).is_some();
        let Some(dir) = self.before_dir()?.filter(|_| chained) else {
            return Ok(None);
        };
        for saved in [format!("{name}.link"), name.into()] {
            if let Some(entry) = dir.entry(&saved)? {
                return Ok(Before::of(name, &entry));
            }
        }
        Ok(None)
    }

    /// Writes the manifest, then puts the hooks in.
    pub(super) fn carry_out(&self, plans: &[Plan], git: &Git, only: bool) -> Result<(), Error> {
        let folder = self.common.make(FOLDER)?;
        let missing = self.hooks_dir()?.is_none() && !plans.is_empty();
        let mut manifest = match &self.manifest {
            Some(manifest) => manifest.clone(),
            None => Manifest::new(self.dir.clone(), missing, self.hash_of_config(git)?),
        };
        // Who chose some, and now all, has all.
        manifest.only = only && (self.manifest.is_none() || manifest.only);
        for plan in plans {
            manifest.hooks.insert(plan.name.into(), plan.entry(self.known(plan.name)));
        }
        if self.manifest.as_ref() != Some(&manifest) {
            manifest.save(&folder)?;
        }
        if plans.is_empty() {
            return Ok(());
        }
        let hooks_dir = self.make_hooks_dir()?;
        for plan in plans {
            if plan.keep {
                self.keep(plan, &hooks_dir, &folder.make(BEFORE)?)?;
            }
            match &plan.stand {
                _ if plan.state == HookChange::AlreadyThere => (),
                Stand::Shim(text) => hooks_dir.put(plan.name, text, EXECUTABLE)?,
                Stand::Standby(text) => self.lay_ready(plan.name, text, &folder, &hooks_dir)?,
                Stand::Link(agent) => hooks_dir.put_link(plan.name, agent)?,
            }
            if matches!(plan.stand, Stand::Shim(_)) && STANDBY.contains(&plan.name) {
                folder.remove(plan.name)?;
            }
            if let Some(aside) = &plan.aside {
                hooks_dir.remove(aside)?;
            }
        }
        match self.before_dir()? {
            Some(before) => self.link_siblings(&hooks_dir, &before),
            None => Ok(()),
        }
    }

    /// Lays a hook ready. An older one of ours that stands there becomes this one first: Git may be about to start it.
    fn lay_ready(&self, name: &str, text: &[u8], folder: &Dir, hooks_dir: &Dir) -> Result<(), Error> {
        folder.put(name, text, EXECUTABLE)?;
        if hooks_dir.entry(name)?.is_some() {
            hooks_dir.put(name, text, EXECUTABLE)?;
            if folder.entry(PUSHING)?.is_none() {
                stand_down(&self.common, name)?;
            }
        }
        Ok(())
    }

    fn make_hooks_dir(&self) -> Result<Dir, Error> {
        let (above, name) = self.dir.rsplit_once('/').unwrap_or(("", &self.dir));
        let above = self.common.below(above.as_ref())?;
        above.ok_or_else(|| Error::Obstacle(self.path()))?.make(name)
    }

    /// Gives the hook that stands there a second name, so that it is never gone while ours takes the first.
    fn keep(&self, plan: &Plan, hooks_dir: &Dir, kept: &Dir) -> Result<(), Error> {
        let before = plan.before.as_ref().expect("a hook to keep was described");
        if plan.outdated {
            kept.remove(before.saved())?;
        }
        match kept.entry(before.saved())? {
            None => hooks_dir.link(plan.name, kept, before.saved())?,
            Some(entry) if before.is(&entry) => (),
            Some(_) => return Err(Error::Obstacle(kept.path().join(before.saved()))),
        }
        match hooks_dir.entry(plan.name)? {
            Some(Entry::Symlink { target }) => kept.symlink(&self.way_back().join(target), plan.name.as_ref()),
            _ => Ok(()),
        }
    }

    /// Lets a hook that was moved find by its own folder what it found there before: `$(dirname "$0")/lib.sh`.
    fn link_siblings(&self, hooks_dir: &Dir, kept: &Dir) -> Result<(), Error> {
        for name in hooks_dir.names()? {
            let text = name.to_string_lossy();
            if !ALL.contains(&&*text) && !text.ends_with(".sample") && !text.ends_with(".agent-new") {
                kept.symlink(&self.way_back().join(&name), &name)?;
            }
        }
        Ok(())
    }

    /// Takes out every hook that is exactly ours, and keeps in the manifest those it had to leave.
    pub(super) fn take_out(&mut self) -> Result<Vec<(PathBuf, Outcome)>, Error> {
        let mut outcomes = Vec::new();
        let mut left = self.manifest.clone();
        for name in ALL {
            let mut outcome = self.take_out_one(name)?;
            if self.dir == passage::DIR && outcome == Some(Outcome::Restored) {
                // What was restored is a passage, which goes as well.
                outcome = Some(Outcome::Removed);
            }
            if let (Some(left), None | Some(Outcome::Removed | Outcome::Restored)) = (&mut left, &outcome) {
                left.hooks.remove(name);
            }
            if let Some(folder) = self.folder()?.filter(|_| STANDBY.contains(&name)) {
                folder.remove(name)?;
            }
            outcomes.extend(outcome.map(|outcome| (self.path().join(name), outcome)));
        }
        // The manifest on disk stays whole until now: an uninstall that was interrupted starts over.
        if let (Some(left), Some(folder), true) = (&left, self.folder()?, left != self.manifest) {
            left.save(&folder)?;
        }
        self.manifest = left;
        if !outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Left { .. })) {
            self.clean_up()?;
        }
        Ok(outcomes)
    }

    fn take_out_one(&self, name: &'static str) -> Result<Option<Outcome>, Error> {
        let Some(hooks_dir) = self.hooks_dir()? else {
            return Ok(self.known(name).map(|_| Outcome::Removed));
        };
        hooks_dir.remove_temporary(name)?;
        let entry = hooks_dir.entry(name)?;
        let found = compare(name, entry.as_ref(), self.known(name));
        let before = self.kept(name, entry.as_ref())?;
        let saved = match (&before, self.before_dir()?) {
            (Some(before), Some(dir)) => dir.entry(before.saved())?.map(|_| (dir, before)),
            _ => None,
        };
        let aside = tool::put_aside(&hooks_dir, name, self.known(name))?;
        let left = |because: &str| Ok(Some(Outcome::Left { because: because.into() }));
        match (found, saved) {
            (Found::Edited, _) => left("it bears the agent's mark but was edited"),
            (Found::Foreign, saved) if aside.is_some() => {
                let (aside, _) = aside.expect("it was put aside");
                match saved {
                    // As the tool would have put aside what was there, had ours not been.
                    Some((dir, before)) => {
                        dir.rename(before.saved(), &hooks_dir, &aside)?;
                        self.forget_alias(name, &dir, hooks_dir.entry(&aside)?.as_ref())?;
                        Ok(Some(Outcome::Restored))
                    }
                    None => hooks_dir.remove(&aside).map(|()| Some(Outcome::Removed)),
                }
            }
            (Found::Foreign, Some((dir, before))) => {
                let saved = dir.path().join(before.saved()).display().to_string();
                left(&format!("somebody put another hook over ours; the one that was there first is {saved}"))
            }
            (Found::Foreign, None) => Ok(None),
            (Found::Before, Some((dir, before))) => {
                dir.remove(before.saved())?;
                self.forget_alias(name, &dir, entry.as_ref())?;
                Ok(Some(Outcome::Restored))
            }
            (Found::Before, None) => Ok(Some(Outcome::Restored)),
            (Found::Ours, None) if before.is_some() => {
                left("the hook that was there before it is gone from agent/before")
            }
            (Found::Ours | Found::Absent, Some((dir, before))) => {
                dir.rename(before.saved(), &hooks_dir, name)?;
                self.forget_alias(name, &dir, hooks_dir.entry(name)?.as_ref())?;
                Ok(Some(Outcome::Restored))
            }
            (Found::Ours, None) => hooks_dir.remove(name).map(|()| Some(Outcome::Removed)),
            (Found::Absent, None) => Ok(self.known(name).map(|_| Outcome::Removed)),
        }
    }

    fn forget_alias(&self, name: &str, kept: &Dir, original: Option<&Entry>) -> Result<(), Error> {
        match original {
            Some(Entry::Symlink { target }) if kept.is_symlink_to(name.as_ref(), &self.way_back().join(target)) => {
                kept.remove(name)
            }
            _ => Ok(()),
        }
    }

    /// Removes what only our hooks needed, once none is left, and nothing that somebody else put there.
    fn clean_up(&self) -> Result<(), Error> {
        let Some(folder) = self.folder()? else { return Ok(()) };
        if self.dir == passage::DIR {
            passage::take_out(&self.common)?;
        }
        if let Some(kept) = self.before_dir()? {
            for name in kept.names()? {
                if kept.is_symlink_to(&name, &self.way_back().join(&name)) {
                    kept.remove(&name)?;
                }
            }
            folder.remove_empty(BEFORE.as_ref())?;
        }
        for name in KEPT_BY_HOOKS {
            folder.remove(name)?;
        }
        for name in ALL {
            folder.remove(format!("{FIRED}{name}"))?;
        }
        if self.manifest.as_ref().is_some_and(|manifest| manifest.made_hooks_dir) {
            self.common.remove_empty(self.dir.as_ref())?;
        }
        Manifest::remove(&folder)?;
        self.common.remove_empty(FOLDER.as_ref())
    }

    /// Hashes the config of a repository that has no id yet; the one of a repository that has tells nothing.
    fn hash_of_config(&self, git: &Git) -> Result<Option<String>, Error> {
        Ok(match self.common.entry("config")? {
            Some(Entry::File { bytes, .. }) if !git.has_id(self.common.path())? => Some(sha256(&bytes)),
            _ => None,
        })
    }

    /// Removes the id, and gives the config back its bytes where git's edit alone does not.
    pub(super) fn forget_id(&self, git: &Git, wanted: Option<&str>) -> Result<Identity, Error> {
        let common = &self.common;
        let owner = common.owner_of("config")?;
        git.unset_id(common.path())?;
        let as_before = match (common.entry("config")?, wanted) {
            (Some(Entry::File { bytes, mode }), Some(wanted)) => {
                let found =
                    LEFT_BY_GIT.iter().filter_map(|left| bytes.strip_suffix(*left)).find(|it| sha256(it) == wanted);
                match found {
                    Some(before) if before.len() < bytes.len() => common.put("config", before, mode)?,
                    _ => (),
                }
                found.is_some()
            }
            _ => false,
        };
        common.give("config", owner)?;
        Ok(Identity::Forgotten { as_before })
    }
}

impl Plan {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn report(&self) -> HookReport {
        HookReport { name: self.name, chained: self.before.is_some(), state: self.state }
    }

    fn entry(&self, known: Option<&Hook>) -> Hook {
        let mut ours = vec![self.stand.sha256()];
        if self.state != HookChange::AlreadyThere {
            ours.extend(known.and_then(|hook| hook.ours.first().cloned()).filter(|older| *older != ours[0]));
        } else if let Some(known) = known {
            ours.clone_from(&known.ours);
        }
        Hook { ours, shim: shim::VERSION, before: self.before.clone() }
    }
}

/// Refuses a directory in which a stranger could put a hook of their own in the place of ours.
pub(super) fn check_writers(dir: &Dir, shared: u32) -> Result<(), Error> {
    let stat = dir.stat()?;
    let mut writers = stat.st_mode & 0o022 & !shared;
    // Many systems give each user a group of the same number and a umask of 002.
    if stat.st_gid == stat.st_uid {
        writers &= !0o020;
    }
    let refuse = |who, chmod| Err(Error::Writable { dir: dir.path().into(), who, chmod });
    match writers {
        0 => Ok(()),
        0o020 => refuse("its group", "g-w"),
        _ => refuse("everybody", "o-w"),
    }
}
