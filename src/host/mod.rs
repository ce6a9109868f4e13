//! Where repositories live, and how hooks get there and away again.
//!
//! A hook of ours is a *shim*: a few lines of shell in the hooks directory that become the agent, or, with nothing before it, a
//! copy of the program that does what they do. Where a hook was there before, that very file is kept
//! under `agent/before/` in the git directory, and the agent runs it afterwards. Putting in and taking out go through a manifest ([`manifest`]):
//!
//! 1. everything is looked at, and whatever speaks against it is said before anything is changed;
//! 2. the manifest is written;
//! 3. each hook gets its shim by a rename, so at any moment either the old hook or ours runs.
//!
//! Taking out goes the same way back and ends with the manifest. A crash anywhere is mended by doing either
//! again.
//!
//! What stays true: only directories inside the git directory are written to, never one that serves other
//! repositories or belongs to another tool; only files that are exactly ours are replaced or removed; whatever
//! happens to the agent, a push or a commit goes on and the hook that was there before runs.

mod account;
mod below;
mod block;
mod copy;
pub(crate) mod create;
mod dir;
mod drop_in;
mod everywhere;
mod gitolite;
mod hooks;
mod kind;
pub(crate) mod list;
mod look;
mod manifest;
mod passage;
mod place;
mod remote;
mod running;
mod shim;
mod standby;
mod tool;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::git;

pub use account::{Account, NOWHERE, Route};
pub(crate) use below::{Below, below, is_made};
pub(crate) use copy::{copied_from, is_original, part};
use dir::{Dir, Entry};
use drop_in::DropIn;
pub(crate) use drop_in::FILE as DROP_IN;
pub(crate) use everywhere::{Configured, Everywhere, clones, note_clone, runs_configured, since};
use hooks::{Hooks, Plan};
pub(crate) use kind::{Kind, is_companion};
pub(crate) use look::{Hindrance, HookState, Look, Owner, is_served_by_file};
use manifest::{FOLDER, Found, Manifest, compare};
use place::Git;
pub(crate) use running::pusher;
pub(crate) use shim::{LINKED, run_before};
use standby::STANDBY;
pub(crate) use standby::{Confirming, begin_check, end_check, set_commit_hooks};
pub(crate) use tool::{Other, Runs, Tool, gits, is_put_aside};

/// What kind of place a repository is, which decides the hooks it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A bare repository that is pushed to.
    Server,
    /// A repository with a work tree that somebody commits in.
    Clone,
}

/// Where hooks of ours are run from.
#[derive(Debug)]
enum Way {
    /// Files in the repository's own folder of hooks.
    Files,
    DropIn(DropIn),
    /// Files in the folder of hooks of a host that has one for all and gives them arguments of its own.
    Site(PathBuf),
    /// Files in a folder of hooks to which each repository has links.
    Common(PathBuf),
}

/// What [`install`] did.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) git_dir: PathBuf,
    pub(crate) hooks_dir: PathBuf,
    pub(crate) place: Place,
    pub(crate) hooks: Vec<HookReport>,
}

/// One hook after [`install`].
#[derive(Debug, PartialEq)]
pub(crate) struct HookReport {
    pub(crate) name: &'static str,
    /// A hook was there before and runs after ours.
    pub(crate) chained: bool,
    pub(crate) state: HookChange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookChange {
    Put,
    AlreadyThere,
    /// A shim of ours was stale, or named another agent.
    Renewed,
}

/// What [`uninstall`] did; hooks that were never ours are not named.
#[derive(Debug)]
pub(crate) struct Uninstalled {
    pub(crate) hooks: Vec<(PathBuf, Outcome)>,
    pub(crate) identity: Identity,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// No hook was there before, and none is now.
    Removed,
    /// The hook that was there before is back, the same file.
    Restored,
    /// Nothing was touched, nor was what is kept for the way back.
    Left { because: String },
}

#[derive(Debug, PartialEq)]
pub(crate) enum Identity {
    /// `agent.repoid` stays, so that Jira knows the repository again.
    Kept,
    /// `agent.repoid` is gone; `as_before` when the config is known to have every byte it had before.
    Forgotten { as_before: bool },
}

/// Why hooks could not be put in, taken out or looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} is neither a git repository nor inside one")]
    NotARepository(PathBuf),
    #[error("git cannot be started")]
    NoGit(#[source] std::io::Error),
    #[error("git {asked} failed: {said}")]
    Git { asked: String, said: String },
    #[error(
        "core.hooksPath is empty in the {scope} configuration, so git looks for hooks where the repository's files are; \
         unset it or name a directory"
    )]
    EmptyHooksPath { scope: String },
    #[error(
        "core.hooksPath in the {scope} configuration makes git look for hooks in {dir}, which serves other repositories \
         too; give this repository its own with `git config core.hooksPath {own}`, or add \
         `agent hook <name> \"$@\"` to the hooks there"
    )]
    SharedHooksPath { dir: PathBuf, own: PathBuf, scope: String },
    #[error(
        "core.hooksPath makes git look for hooks in {dir}, which lies in the work tree and belongs to another tool; \
         add `agent hook <name> \"$@\"` to that tool's hooks, or unset core.hooksPath"
    )]
    TrackedHooksPath { dir: PathBuf },
    #[error(
        "{0} leads out of the git directory, so its hooks may serve other repositories; make it a directory of its own"
    )]
    LinkedHooks(PathBuf),
    #[error(
        "{dir} can be written by {who}, who could then run programs as whoever pushes or commits; \
         take that away with `chmod {chmod}`, or set core.sharedRepository if it is meant"
    )]
    Writable { dir: PathBuf, who: &'static str, chmod: &'static str },
    #[error("{0} bears the agent's mark but was edited; move it away and install again")]
    Edited(PathBuf),
    #[error(
        "{hook} was put over our hook by somebody else, and the hook that was there first is kept as {saved}; decide which is to stay and move the other away"
    )]
    Replaced { hook: PathBuf, saved: PathBuf },
    #[error(
        "{hook} belongs to a tool that put our hook aside as {aside}; uninstall that tool's hook, or remove {aside}, and install again"
    )]
    PutAside { hook: PathBuf, aside: PathBuf },
    #[error("hooks are installed in {installed}, but git looks in {now}; uninstall, then install again")]
    Moved { installed: PathBuf, now: PathBuf },
    #[error("{0}")]
    NotByFile(&'static str),
    #[error("{path}: {because}")]
    Host { path: PathBuf, because: String },
    #[error("{0} is in the way")]
    Obstacle(PathBuf),
    #[error("{0} is there: another program is changing Git's configuration; if none is, remove that file")]
    Locked(PathBuf),
    #[error("{path} cannot be changed, and nothing was")]
    Closed { path: PathBuf, source: std::io::Error },
    #[error("{0} is closed to others, and Git works for nobody who may not read what it is to include; `chmod o+x` it")]
    NotForAll(PathBuf),
    #[error("{folder} serves {config} already; take it out there first, with `agent uninstall --remote`")]
    Elsewhere { folder: PathBuf, config: PathBuf },
    #[error("the agent's path must be absolute and of one line: {0:?}")]
    AgentPath(PathBuf),
    #[error("{path} cannot be read as a list of our hooks")]
    Manifest { path: PathBuf, source: serde_json::Error },
    #[error("{path} was written by a newer agent: format {format}, this one knows {known}")]
    NewerManifest { path: PathBuf, format: u32, known: u32 },
    #[error("there is no hook {name} for such a repository; there are {hooks}")]
    NoSuchHook { name: String, hooks: String },
    #[error("the repository cannot be given an id")]
    Id(#[from] git::Error),
    #[error("{path}")]
    Io { path: PathBuf, source: std::io::Error },
}

/// An error with its causes, on one line.
pub(crate) fn reason(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

impl Place {
    /// Names the hooks that are ours in such a place.
    pub(crate) fn hooks(self) -> &'static [&'static str] {
        match self {
            Self::Server => &ALL[..2],
            Self::Clone => &ALL[2..6],
        }
    }
}

/// Finds the git directory of whatever `path` is or lies in: a bare repository, a work tree, a linked one.
pub(crate) fn find_git_dir(path: &Path) -> Result<PathBuf, Error> {
    Git::default().find(path)
}

/// Gives a repository that has none the id by which Jira will know it for good.
pub(crate) fn give_id(repository: &git::Repository) -> Result<String, Error> {
    let id = Uuid::now_v7().to_string();
    let common = Dir::open(repository.common_dir())?;
    let owner = common.owner_of("config")?;
    repository.set_id(&id)?;
    common.give("config", owner)?;
    // Two first pushes may be here at once; what counts is what the config ended up with.
    let now = git::Repository::open(repository.common_dir())?;
    Ok(now.id().map_or(id, str::to_owned))
}

/// The configuration that the hooks of a repository use, where it is not the usual one.
pub(crate) fn config_of(repository: &git::Repository) -> Option<PathBuf> {
    config_at(repository.common_dir())
}

/// The same of a git directory that all its worktrees have in common.
pub(crate) fn config_at(git_dir: &Path) -> Option<PathBuf> {
    let text = std::fs::read(git_dir.join(FOLDER).join("config")).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(text.trim_ascii_end())))
}

/// Makes the hooks of a repository use this configuration.
pub(crate) fn set_config(repository: &git::Repository, path: &Path) -> Result<(), Error> {
    let file = repository.common_dir().join(FOLDER).join("config");
    let text = [path.as_os_str().as_bytes(), b"\n"].concat();
    std::fs::write(&file, text).map_err(|source| Error::Io { path: file, source })
}

/// What its host last called a repository whose place does not say.
pub(crate) fn name_at_host(git_dir: &Path) -> Option<String> {
    let name = kind::is_hashed(git_dir).then(|| std::fs::read_to_string(git_dir.join(FOLDER).join("name")).ok())??;
    Some(name.trim_end().to_owned()).filter(|name| is_name(name))
}

/// What its host says a repository is called, where its place does not.
pub(crate) fn name_said<'a>(git_dir: &Path, name: &'a str) -> Option<&'a str> {
    Some(name).filter(|name| kind::is_hashed(git_dir) && is_name(name))
}

/// Keeps what its host says a repository is called, where its place does not.
pub(crate) fn note_name(git_dir: &Path, name: &str) {
    if let Some(name) = name_said(git_dir, name).filter(|name| name_at_host(git_dir).as_deref() != Some(*name)) {
        // Lost, it is only shown by its place until the next push.
        let _ = std::fs::write(git_dir.join(FOLDER).join("name"), format!("{name}\n"));
    }
}

fn is_name(name: &str) -> bool {
    let plain = !name.is_empty() && name.len() <= 255 && !name.contains(|c: char| c.is_control());
    plain && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// Puts our hooks into a repository; doing it twice changes nothing. With `only`, just these of the hooks that belong to
/// such a place are put in, and those that are there already stay.
///
/// Comes before the repository gets its `agent.repoid`, so that [`uninstall`] can give back the config as it was.
fn install(git_dir: &Path, agent: &Path, only: &[String]) -> Result<Installed, Error> {
    install_with(&Git::default(), git_dir, agent, only)
}

/// Tells what [`install`] would do or what speaks against it, and changes nothing.
pub(crate) fn plan(git_dir: &Path, agent: &Path) -> Result<Vec<HookReport>, Error> {
    let planned = planned(&Git::default(), git_dir, agent, &[])?;
    // What is missing is to be made in what is above it.
    let there = planned.hooks_dir.ancestors().find(|dir| dir.exists()).map(Path::to_owned);
    for dir in [Some(git_dir.to_owned()), there].into_iter().flatten() {
        rustix::fs::access(&dir, rustix::fs::Access::WRITE_OK)
            .map_err(|error| Error::Io { path: dir, source: error.into() })?;
    }
    Ok(planned.reports)
}

/// Takes our files out of a folder of hooks that served many repositories.
pub(crate) fn uninstall_shared(hooks: &Path) -> Result<Vec<(PathBuf, Outcome)>, Error> {
    // Only a host's site keeps a manifest beside its folder of hooks.
    match Manifest::path(parent(hooks)).exists() {
        true => Hooks::lock(Dir::open(parent(hooks))?, None)?.take_out(),
        false => drop_in::take_out(hooks),
    }
}

/// Puts our hooks into a repository and gives it an id; with `config`, its hooks use that configuration.
///
/// What its refs are now is known from then on: only what moves later is news. Of `hidden` ones it is not, because nobody
/// was told.
pub(crate) fn cover(
    git_dir: &Path,
    agent: &Path,
    config: Option<&Path>,
    hidden: Option<git::Hidden>,
) -> Result<(Installed, String), Error> {
    cover_only(git_dir, agent, config, hidden, &[])
}

/// As [`cover`], with only these hooks; none named means all.
pub(crate) fn cover_only(
    git_dir: &Path,
    agent: &Path,
    config: Option<&Path>,
    hidden: Option<git::Hidden>,
    only: &[String],
) -> Result<(Installed, String), Error> {
    let installed = install(git_dir, agent, only)?;
    if copied_from(&git::Repository::open(&installed.git_dir)?).is_some() {
        part(&installed.git_dir)?;
    }
    // The daemon and a person may be here at once, and only one of them can write the repository's config.
    let _lock = Dir::open(&installed.git_dir)?.lock()?;
    let repository = git::Repository::open(&installed.git_dir)?;
    let id = match repository.id() {
        Some(id) => id.to_owned(),
        None => give_id(&repository)?,
    };
    if let Some(config) = config {
        set_config(&repository, config)?;
    }
    let _ = git::Told::of(&repository.hiding(hidden)).begin(&[]);
    copy::note(&installed.git_dir)?;
    Ok((installed, id))
}

/// Whether another tool removed one of our hooks, or put a hook of its own in its place.
pub(crate) fn is_dropped(git_dir: &Path) -> Result<bool, Error> {
    let common = open(git_dir)?;
    let Some(manifest) = Manifest::load(&common)? else { return Ok(false) };
    let Some(dir) = common.below(Path::new(&manifest.hooks_dir))? else { return Ok(false) };
    for name in ALL {
        let Some(known) = manifest.hooks.get(name) else { continue };
        let entry = dir.entry(name)?;
        let dropped = match (compare(name, entry.as_ref(), Some(known)), &entry) {
            (Found::Absent, _) => !stands_by(&common, name)?,
            (Found::Foreign, Some(Entry::File { bytes, .. })) => {
                let is_run = matches!(tool::put_aside(&dir, name, Some(known))?, Some((_, true)));
                !is_run && Tool::of(&dir.path().join(name), bytes) != Tool::Unknown
            }
            _ => false,
        };
        if dropped {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a hook lies ready that is not among the others at the moment.
fn stands_by(common: &Dir, name: &str) -> Result<bool, Error> {
    let folder = common.below(FOLDER.as_ref())?.filter(|_| STANDBY.contains(&name));
    Ok(matches!(folder.map(|folder| folder.entry(name)).transpose()?.flatten(), Some(Entry::File { .. })))
}

/// Puts hooks of ours in again that another tool dropped; tells whether there were any.
pub(crate) fn repair(git_dir: &Path, agent: &Path) -> Result<bool, Error> {
    if !is_dropped(git_dir)? {
        return Ok(false);
    }
    let chosen = Manifest::load(&open(git_dir)?)?.filter(|manifest| manifest.only);
    let only: Vec<String> = chosen.map(|manifest| manifest.hooks.into_keys().collect()).unwrap_or_default();
    install(git_dir, agent, &only).map(|_| true)
}

/// Whether hooks of ours were put into a repository and not taken out since.
pub(crate) fn has_hooks(git_dir: &Path) -> bool {
    Manifest::path(git_dir).exists()
}

/// Takes our hooks out again, and with `forget` the repository's id as well.
pub(crate) fn uninstall(git_dir: &Path, forget: bool) -> Result<Uninstalled, Error> {
    uninstall_with(&Git::default(), git_dir, forget)
}

/// Takes up a clone in which nobody put hooks, at the first hook that Git runs there out of its configuration: it gets an id,
/// and what is pushed from now on is news. With `config`, its hooks use that configuration. Tells whether it was new.
pub(crate) fn take_up(repository: &git::Repository, config: Option<&Path>) -> Result<bool, Error> {
    let git_dir = repository.common_dir();
    if has_hooks(git_dir) || git_dir.join(FOLDER).join(TAKEN_UP).exists() {
        return Ok(false);
    }
    let common = Dir::open(git_dir)?;
    let folder = common.make(FOLDER)?;
    let _lock = common.lock()?;
    if git::Repository::open(git_dir)?.id().is_none() {
        give_id(repository)?;
    }
    if let Some(config) = config {
        set_config(repository, config)?;
    }
    folder.put(TAKEN_UP, b"", folder.stat()?.st_mode & 0o666)?;
    copy::note(git_dir).map(|()| true)
}

/// Notes in a repository whether a policy holds there, for its `pre-receive` to wait for; tells whether that changed.
pub(crate) fn mark_policy(git_dir: &Path, holds: bool) -> std::io::Result<bool> {
    let mark = git_dir.join(FOLDER).join(POLICY);
    match (holds, mark.exists()) {
        (true, false) if mark.parent().is_some_and(Path::exists) => std::fs::write(&mark, b"").map(|()| true),
        (false, true) => std::fs::remove_file(&mark).map(|()| true),
        _ => Ok(false),
    }
}

/// Whether [`mark_policy`] has noted that a policy holds.
pub(crate) fn is_policy_marked(git_dir: &Path) -> bool {
    git_dir.join(FOLDER).join(POLICY).exists()
}

/// Leaves in a repository the way to a daemon that takes its pushes, for `agent-hook`.
pub(crate) fn show_door(git_dir: &Path, socket: &Path) {
    let link = git_dir.join(FOLDER).join(DOOR);
    if std::fs::read_link(&link).is_ok_and(|now| now == socket) {
        return;
    }
    let beside = link.with_extension("agent-new");
    // Lost, the next push goes the long way once more.
    let _ = std::os::unix::fs::symlink(socket, &beside).and_then(|()| std::fs::rename(&beside, link));
    let _ = std::fs::remove_file(&beside);
}

/// Notes in a repository that by a configuration no policy holds there, so that its hooks start no agent over a message that asks
/// nothing, and what of other messages is `sure`; or, with nothing, that one does. A configuration that was just written is waited with.
pub(crate) fn mark_plain(git_dir: &Path, config: &Path, sure: Option<&str>) -> std::io::Result<()> {
    let mark = git_dir.join(FOLDER).join(PLAIN);
    let Some(sure) = sure else {
        return if mark.exists() { std::fs::remove_file(&mark) } else { Ok(()) };
    };
    let text = [config.as_os_str().as_bytes(), b"\n", sure.as_bytes()].concat();
    let since = changed(config)?.max(changed(&git_dir.join("config"))?);
    let is_there = changed(&mark).is_ok_and(|at| at > since) && std::fs::read(&mark)? == text;
    if !rests(config) || config.as_os_str().as_bytes().contains(&b'\n') || is_there {
        return Ok(());
    }
    std::fs::write(&mark, text)
}

fn changed(path: &Path) -> std::io::Result<std::time::SystemTime> {
    std::fs::metadata(path)?.modified()
}

/// Whether a file was not written just now: times of files are coarse.
pub(crate) fn rests(path: &Path) -> bool {
    changed(path).is_ok_and(|at| at.elapsed().is_ok_and(|since| since > COARSE))
}

/// Whether [`mark_plain`] has noted that none does.
pub(crate) fn is_marked_plain(git_dir: &Path) -> bool {
    git_dir.join(FOLDER).join(PLAIN).exists()
}

/// Whether the server that a clone pushes to tells Jira itself: as whoever works in the clone says, else as its account does.
pub(crate) fn is_served(repository: &git::Repository, account: Option<&Account>) -> bool {
    let [said] = repository.settings([SERVED]);
    match said.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("true" | "yes" | "on" | "1" | "") => true,
        Some("false" | "no" | "off" | "0") => false,
        _ => account.is_some_and(|account| account.served),
    }
}

/// When the hooks of a repository were put in last, or the first one fired out of Git's configuration, in seconds since the
/// epoch; `None` where there are none of ours.
pub(crate) fn installed_at(git_dir: &Path) -> Option<i64> {
    let marks = [Manifest::path(git_dir), git_dir.join(FOLDER).join(TAKEN_UP)];
    let meta = marks.iter().find_map(|mark| std::fs::metadata(mark).ok())?;
    Some(std::os::unix::fs::MetadataExt::mtime(&meta))
}

/// Notes that a hook of ours was started, where that can be written down without any trouble.
pub(crate) fn note_fired(git_dir: &Path, hook: &str) {
    let path = fired(git_dir, hook);
    let since = std::time::Duration::from_millis(crate::clock::now().unsigned_abs());
    if let Ok(file) = std::fs::File::options().create(true).append(true).open(path) {
        let _ = file.set_modified(std::time::UNIX_EPOCH + since);
    }
}

/// When a hook of ours was last started, in milliseconds, where it is known.
pub(crate) fn last_fired(git_dir: &Path, hook: &str) -> Option<i64> {
    let at = std::fs::metadata(fired(git_dir, hook)).ok()?.modified().ok()?;
    Some(jiff::Timestamp::try_from(at).ok()?.as_millisecond())
}

fn fired(git_dir: &Path, hook: &str) -> PathBuf {
    git_dir.join(FOLDER).join(format!("{FIRED}{hook}"))
}

/// What the names of the notes of [`note_fired`] begin with.
const FIRED: &str = "fired-";
/// The mark of [`take_up`].
const TAKEN_UP: &str = "taken-up";
/// The mark of [`mark_plain`], under the name the shim looks for.
const PLAIN: &str = "plain";
/// How coarse the times of files may be.
const COARSE: std::time::Duration = std::time::Duration::from_secs(2);
/// What a person may say with `git config` of one clone.
const SERVED: &str = "agent.served";
/// The link of [`show_door`], under the name that `agent-hook` looks for.
const DOOR: &str = "door";
/// The mark that [`mark_policy`] sets, under the name the shim looks for.
const POLICY: &str = "policy";

const ALL: [&str; 7] = [
    "pre-receive",
    "post-receive",
    "prepare-commit-msg",
    "commit-msg",
    "pre-push",
    "reference-transaction",
    SITE_HOOKS[0],
];
/// The hooks that are ours in the site of a host, which is Gerrit.
const SITE_HOOKS: [&str; 1] = ["ref-updated"];

fn install_with(git: &Git, git_dir: &Path, agent: &Path, only: &[String]) -> Result<Installed, Error> {
    let common = open(git_dir)?;
    let leads = leads(git, &common)?;
    let installed = Manifest::load(&common)?.map(|manifest| manifest.hooks_dir == passage::DIR);
    if installed.is_some_and(|passes| passes != leads.is_some()) {
        // Since then a tool has begun to lead Git elsewhere, or has ceased to.
        let chosen = common.path().join(FOLDER).join("config");
        let config = std::fs::read(&chosen).ok();
        uninstall_with(git, git_dir, false)?;
        if let Some(config) = config {
            let folder = common.make(FOLDER)?;
            folder.put("config", &config, folder.stat()?.st_mode & 0o666)?;
        }
    }
    if let Some(said) = &leads {
        passage::prepare(&common, said)?;
    }
    let planned = planned(git, git_dir, agent, only)?;
    // First what links lead to, then the links.
    match &planned.elsewhere {
        None => {}
        Some(Elsewhere::DropIn(drop_in, bits)) => drop_in.put(agent, *bits)?,
        Some(Elsewhere::Site(hooks, plans)) => hooks.carry_out(plans, git, false)?,
    }
    planned.hooks.carry_out(&planned.plans, git, !only.is_empty())?;
    if leads.is_some() {
        passage::lead(&common)?;
    }
    let git_dir = planned.hooks.git_dir().into();
    Ok(Installed { git_dir, hooks_dir: planned.hooks_dir, place: planned.place, hooks: planned.reports })
}

/// The folder of another tool in the work tree in which Git looks for hooks, by our passages or without.
fn leads(git: &Git, common: &Dir) -> Result<Option<PathBuf>, Error> {
    let place = git.place(common.path())?;
    let hooks_dir = git.hooks_dir(common.path(), place)?;
    match passage::serves(common.path(), &hooks_dir) {
        true => passage::wanted(git, common.path(), place),
        false => Ok(None),
    }
}

/// What is to be done for a repository.
struct Planned {
    hooks: Hooks,
    place: Place,
    plans: Vec<Plan>,
    /// What is to be done where the host takes its hooks from.
    elsewhere: Option<Elsewhere>,
    hooks_dir: PathBuf,
    reports: Vec<HookReport>,
}

enum Elsewhere {
    /// With the rights that others may have on folders in the repository.
    DropIn(DropIn, u32),
    Site(Hooks, Vec<Plan>),
}

fn planned(git: &Git, git_dir: &Path, agent: &Path, only: &[String]) -> Result<Planned, Error> {
    shim::check_agent(agent)?;
    let common = open(git_dir)?;
    let git_dir = common.path().to_owned();
    let place = git.place(&git_dir)?;
    let hooks_dir = git.hooks_dir(&git_dir, place)?;
    let way = way(git, &common, &hooks_dir)?;
    let dir = match &way {
        Way::Files if leads(git, &common)?.is_some() => passage::DIR.to_owned(),
        Way::Files => inside(&git_dir, hooks_dir)?,
        _ => "hooks".to_owned(),
    };
    let hooks = Hooks::lock(common, Some(dir))?;
    let bits = git.shared_bits(&git_dir)?;
    hooks.check_place(bits)?;
    if let Some(other) = only.iter().find(|name| !place.hooks().contains(&name.as_str())) {
        return Err(Error::NoSuchHook { name: other.clone(), hooks: place.hooks().join(", ") });
    }
    let wanted = |name: &&&'static str| only.is_empty() || only.iter().any(|one| one == **name);
    let wanted: Vec<&'static str> = place.hooks().iter().filter(wanted).copied().collect();
    let reports = |plans: &[Plan]| plans.iter().map(Plan::report).collect();
    let planned =
        Planned { hooks_dir: hooks.path(), hooks, place, plans: Vec::new(), elsewhere: None, reports: Vec::new() };
    match way {
        Way::Files => {
            let hooks = &planned.hooks;
            let plans = wanted.iter().map(|name| hooks.plan(name, agent)).collect::<Result<Vec<_>, _>>()?;
            Ok(Planned { reports: reports(&plans), plans, ..planned })
        }
        Way::DropIn(drop_in) => {
            let reports = drop_in.plan(agent, bits)?;
            let hooks_dir = drop_in.dir.clone();
            Ok(Planned { reports, hooks_dir, elsewhere: Some(Elsewhere::DropIn(drop_in, bits)), ..planned })
        }
        Way::Common(folder) => {
            let all = Hooks::lock_linked(Dir::open(parent(&folder))?, "common".to_owned())?;
            all.check_place(0)?;
            let plans = wanted.iter().map(|name| all.plan(name, agent)).collect::<Result<Vec<_>, _>>()?;
            let reports = reports(&plans);
            // Where another common hook was, its links are gitolite's.
            let new = plans.iter().filter(|plan| !plan.report().chained).map(Plan::name);
            let links = new.map(|name| planned.hooks.plan_link(name, &folder.join(name)));
            let links = links.collect::<Result<Vec<_>, _>>()?;
            let elsewhere = Some(Elsewhere::Site(all, plans));
            Ok(Planned { reports, plans: links, hooks_dir: folder, elsewhere, ..planned })
        }
        Way::Site(folder) => {
            let name = folder.file_name().and_then(OsStr::to_str).ok_or_else(|| Error::Obstacle(folder.clone()))?;
            let site = Hooks::lock(Dir::open(parent(&folder))?, Some(name.to_owned()))?;
            site.check_place(0)?;
            let plans = SITE_HOOKS.iter().map(|name| site.plan(name, agent)).collect::<Result<Vec<_>, _>>()?;
            let reports = reports(&plans);
            Ok(Planned { reports, hooks_dir: folder, elsewhere: Some(Elsewhere::Site(site, plans)), ..planned })
        }
    }
}

/// Where hooks of ours go for a repository; one that has shims of ours keeps those.
fn way(git: &Git, common: &Dir, hooks_dir: &place::HooksDir) -> Result<Way, Error> {
    let way = || Kind::of(common.path(), hooks_dir).way(git, common.path(), hooks_dir);
    match Manifest::load(common)?.filter(|manifest| !manifest.hooks.is_empty()) {
        None => way(),
        Some(manifest) => Ok(match way() {
            Ok(Way::Common(folder)) if manifest.has_only_links_into(&folder) => Way::Common(folder),
            _ => Way::Files,
        }),
    }
}

fn uninstall_with(git: &Git, git_dir: &Path, forget: bool) -> Result<Uninstalled, Error> {
    let common = open(git_dir)?;
    let mut hooks = Hooks::lock(common, None)?;
    let config = hooks.config_before();
    let mut outcomes = Vec::new();
    // What serves other repositories as well goes with the account, and not with one of them.
    if let Ok(place) = git.place(hooks.git_dir())
        && let Ok(hooks_dir) = git.hooks_dir(hooks.git_dir(), place)
        && let Ok(Way::DropIn(DropIn { dir, shared: false, .. })) =
            Kind::of(hooks.git_dir(), &hooks_dir).way(git, hooks.git_dir(), &hooks_dir)
    {
        outcomes = drop_in::take_out(&dir)?;
    }
    outcomes.extend(hooks.take_out()?);
    let identity = if forget { hooks.forget_id(git, config.as_deref())? } else { Identity::Kept };
    Ok(Uninstalled { hooks: outcomes, identity })
}

fn open(git_dir: &Path) -> Result<Dir, Error> {
    let path = git_dir.canonicalize().map_err(|source| Error::Io { path: git_dir.into(), source })?;
    let dir = Dir::open(&path)?;
    if dir.entry("HEAD")?.is_some() { Ok(dir) } else { Err(Error::NotARepository(path)) }
}

/// Tells where below the git directory the hooks are, or why they are nobody's but another's to change.
fn inside(git_dir: &Path, hooks: place::HooksDir) -> Result<String, Error> {
    // One that is missing is ours to make: `git init --template=` makes none.
    let missing = |_| Ok(parent(&hooks.path).canonicalize()?.join(hooks.path.file_name().unwrap_or_default()));
    let path = hooks.path.canonicalize().or_else(missing);
    let path = path.unwrap_or_else(|_: std::io::Error| hooks.path.clone());
    match path.strip_prefix(git_dir).map(Path::to_str) {
        Ok(Some("")) => Err(Error::EmptyHooksPath { scope: hooks.scope.unwrap_or_default() }),
        Ok(Some(relative)) => Ok(relative.into()),
        _ => Err(match hooks.scope {
            None => Error::LinkedHooks(hooks.path),
            Some(scope) if scope == "global" || scope == "system" => {
                Error::SharedHooksPath { dir: hooks.path, own: git_dir.join("hooks"), scope }
            }
            Some(_) if git_dir.file_name() == Some(OsStr::new(".git")) && hooks.path.starts_with(parent(git_dir)) => {
                Error::TrackedHooksPath { dir: hooks.path }
            }
            Some(scope) => Error::SharedHooksPath { dir: hooks.path, own: git_dir.join("hooks"), scope },
        }),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests;
