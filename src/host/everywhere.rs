//! Hooks for all clones of a server at once, today's and tomorrow's: Git 2.54 and later run hooks out of their configuration.
//!
//! Nothing is written into any clone. At the end of a person's configuration of Git, or of the machine's, stand a few lines
//! that include a file of ours wherever a clone has a remote that fits (`hasconfig:remote.*.url`); that file names our hooks,
//! and beside it lie the shims that they run and a manifest, by which all of it goes again:
//!
//! ```text
//! ~/.gitconfig                        # its last lines: [includeIf "hasconfig:remote.*.url:ssh://git.example.org/**"] …
//! ~/.config/git-jira-agent/git-hooks/
//!     installed.json                  # the manifest: written first, removed last
//!     gitconfig                       # [hook "git-jira-agent-commit-msg"] …
//!     hooks/commit-msg                # …
//! ```
//!
//! What stays true: whatever becomes of our files, a commit and a push go on, because an inclusion that leads nowhere is
//! passed over and a command whose shim is missing succeeds. An event never stands without its command, which would be
//! fatal to every command of Git's that comes to it: both are in the file that is included. That file has no remotes, which Git
//! would refuse. A clone that has our hooks as files as well is served by those, and the others leave ([`is_served_by_file`]).
//!
//! The inclusion may hold by several of its lines at once; Git takes a hook by its name, so it still runs once.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::block::{Block, include_if, quoted};
use super::dir::{Dir, Entry};
use super::place::Git;
use super::remote::spellings;
use super::shim::{self, Shim};
use super::{Error, Place};

/// Where Git's configuration and our files are.
pub(crate) struct Everywhere {
    /// The configuration of Git's that is to include ours, a link followed.
    config: PathBuf,
    /// The folder with our files.
    folder: PathBuf,
    /// Whether all users of the machine read them: Git works for nobody who may not read what it is to include.
    for_all: bool,
}

/// What was put in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    /// The configuration of Git's that includes our file.
    config: PathBuf,
    /// There was none, so it goes again when nothing else is in it.
    made: bool,
    /// The servers, as a person wrote them.
    remotes: Vec<String>,
}

/// A hook that stands in Git's configuration and holds for one repository.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Configured {
    pub(crate) name: String,
    pub(crate) events: Vec<String>,
    pub(crate) command: String,
    pub(crate) enabled: bool,
    /// `system`, `global` or `local`, as Git calls it.
    pub(crate) scope: String,
    /// The file in which it stands.
    pub(crate) file: PathBuf,
    /// Whether it is one of ours.
    pub(crate) ours: bool,
}

/// What the names of our hooks begin with; no event is called so, which Git would refuse.
const NAME: &str = "git-jira-agent-";
const FOLDER: &str = "git-hooks";
const MANIFEST: &str = "installed.json";
const INCLUDED: &str = "gitconfig";
const HOOKS: &str = "hooks";
const FORMAT: u32 = 1;
/// The list of clones, in a folder of state.
const CLONES: &str = "clones";
const BLOCK: Block =
    Block { begin: "# git-jira-agent: hooks in all clones of a server; `agent uninstall --remote` takes this out\n" };
/// Since which version Git runs hooks out of its configuration.
const SINCE: (u32, u32) = (2, 54);
/// How long another program that writes the configuration is waited for, and how often it is looked at.
const PATIENCE: (u32, Duration) = (20, Duration::from_millis(100));

/// Tells whether a Git of this version, as `git --version` says it, runs hooks out of its configuration.
pub(crate) fn runs_configured(version: &str) -> bool {
    let version = version.trim();
    let version = version.strip_prefix("git version ").unwrap_or(version);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    matches!((number(), number()), (Some(major), Some(minor)) if (major, minor) >= SINCE)
}

/// Since which version Git does, for people.
pub(crate) fn since() -> String {
    format!("{}.{}", SINCE.0, SINCE.1)
}

impl Everywhere {
    /// What was put in beside our own configuration, wherever Git's is that leads to it.
    pub(crate) fn beside(own_config: &Path) -> Result<Option<Everywhere>, Error> {
        let everywhere = Everywhere::new(Path::new("/"), own_config);
        Ok(everywhere.manifest()?.map(|manifest| Everywhere { config: manifest.config, ..everywhere }))
    }

    /// For a configuration of Git's, with our files beside our own configuration.
    pub(crate) fn new(git_config: &Path, own_config: &Path) -> Everywhere {
        let config = git_config.canonicalize().unwrap_or_else(|_| git_config.to_owned());
        Everywhere { config, folder: own_config.parent().unwrap_or(Path::new("/")).join(FOLDER), for_all: false }
    }

    /// The same in a configuration of Git's that is everybody's.
    pub(crate) fn for_all(self) -> Everywhere {
        Everywhere { for_all: true, ..self }
    }

    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// The servers that it was put in for.
    pub(crate) fn remotes(&self) -> Result<Vec<String>, Error> {
        Ok(self.manifest()?.map(|manifest| manifest.remotes).unwrap_or_default())
    }

    /// Puts it in for these servers too; doing it twice changes nothing, and tells so. With `own_config`, the hooks use that
    /// configuration.
    pub(crate) fn put(&self, remotes: &[String], agent: &Path, own_config: Option<&Path>) -> Result<bool, Error> {
        for path in [agent, &self.folder].into_iter().chain(own_config) {
            shim::check_agent(path)?;
        }
        if self.folder.to_str().is_none() {
            return Err(Error::AgentPath(self.folder.clone()));
        }
        let lock = Lock::of(&self.config)?;
        let before = lock.read()?;
        let known = self.manifest()?;
        if let Some(known) = known.as_ref().filter(|known| known.config != self.config) {
            return Err(Error::Elsewhere { folder: self.folder.clone(), config: known.config.clone() });
        }
        let new = || Manifest { format: FORMAT, config: self.config.clone(), made: before.is_none(), remotes: vec![] };
        let mut manifest = known.clone().unwrap_or_else(new);
        for remote in remotes.iter().filter(|remote| !remote.is_empty()) {
            if !manifest.remotes.contains(remote) {
                manifest.remotes.push(remote.clone());
            }
        }
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.folder).map_err(io(&self.folder))?;
        let folder = Dir::open(&self.folder)?;
        if self.for_all {
            self.open_for_all()?;
        }
        super::hooks::check_writers(&folder, 0)?;
        let mut changed = self.save(&manifest, known.as_ref())?;
        let hooks = folder.make(HOOKS)?;
        for hook in Place::Clone.hooks() {
            let text = Shim { hook, agent: agent.into(), before: None }.render_beside(own_config);
            changed |= write(&hooks, hook, &text, 0o755)?;
        }
        changed |= write(&folder, INCLUDED, self.included().as_bytes(), 0o644)?;
        let before = before.unwrap_or_default();
        let after = BLOCK.put(&before, &self.lines(&manifest.remotes));
        if after != before {
            lock.write(&after)?;
            changed = true;
        }
        Ok(changed)
    }

    /// Tells what is not as it was put in, where it was.
    pub(crate) fn trouble(&self) -> Result<Option<String>, Error> {
        let Some(manifest) = self.manifest()? else { return Ok(None) };
        let config = manifest.config.display();
        let lines = BLOCK.put(b"", &self.lines(&manifest.remotes));
        let there = match fs::read(&manifest.config) {
            Ok(bytes) => memchr::memmem::find(&bytes, &lines).is_some(),
            Err(_) => false,
        };
        if !there {
            return Ok(Some(format!("{config} does not lead Git to our hooks any more")));
        }
        let included = self.folder.join(INCLUDED);
        if fs::read(&included).ok().as_deref() != Some(self.included().as_bytes()) {
            return Ok(Some(format!("{} is gone, or not as this agent writes it", included.display())));
        }
        let is_current = |hook: &&&'static str| {
            let bytes = fs::read(self.folder.join(HOOKS).join(hook)).ok();
            matches!(bytes.and_then(|bytes| shim::read(hook, &bytes)), Some((shim::VERSION, Some(_))))
        };
        let stale = Place::Clone.hooks().iter().find(|hook| !is_current(hook));
        Ok(stale.map(|hook| {
            let path = self.folder.join(HOOKS).join(hook);
            format!("{} is gone, or of another version", path.display())
        }))
    }

    /// Takes it out for these servers, for all where none is named; gives those that it was put in for.
    pub(crate) fn take_out(&self, remotes: &[String]) -> Result<Vec<String>, Error> {
        let Some(manifest) = self.manifest()? else { return Ok(Vec::new()) };
        // It goes from where it was put, whatever the environment says now.
        let lock = Lock::of(&manifest.config)?;
        let goes = |remote: &String| remotes.is_empty() || remotes.contains(remote);
        let (gone, left): (Vec<String>, Vec<String>) = manifest.remotes.iter().cloned().partition(goes);
        if gone.is_empty() {
            return Ok(gone);
        }
        let before = lock.read()?;
        if !left.is_empty() {
            if let Some(before) = before {
                let after = BLOCK.put(&before, &self.lines(&left));
                lock.write(&after)?;
            }
            self.save(&Manifest { remotes: left, ..manifest.clone() }, Some(&manifest))?;
            return Ok(gone);
        }
        if let Some(before) = before {
            let after = BLOCK.without(&before);
            match after.is_empty() && manifest.made {
                true => lock.remove()?,
                false if after != before => lock.write(&after)?,
                false => {}
            }
        }
        let folder = Dir::open(&self.folder)?;
        if let Some(hooks) = folder.below(HOOKS.as_ref())? {
            for hook in Place::Clone.hooks() {
                hooks.remove_temporary(hook)?;
                hooks.remove(hook)?;
            }
        }
        folder.remove_empty(HOOKS.as_ref())?;
        for name in [INCLUDED, MANIFEST] {
            folder.remove_temporary(name)?;
            folder.remove(name)?;
        }
        match fs::remove_dir(&self.folder) {
            // Somebody keeps something in it.
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(gone),
            Err(error) => Err(io(&self.folder)(error)),
            Ok(()) => Ok(gone),
        }
    }

    /// Lets everybody into our folder, whatever the mask is, and refuses a place that they cannot come to.
    fn open_for_all(&self) -> Result<(), Error> {
        let told = io(&self.folder);
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755)).map_err(&told)?;
        let real = self.folder.canonicalize().map_err(&told)?;
        let closed = |above: &&Path| fs::metadata(above).is_ok_and(|meta| meta.mode() & 0o001 == 0);
        match real.ancestors().skip(1).find(closed) {
            Some(above) => {
                // It stays only where something is in it.
                let _ = fs::remove_dir(&self.folder);
                Err(Error::NotForAll(above.to_owned()))
            }
            None => Ok(()),
        }
    }

    fn manifest(&self) -> Result<Option<Manifest>, Error> {
        let path = self.folder.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(&path)(error)),
        };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let broken = |source| Error::Manifest { path: path.clone(), source };
        match serde_json::from_slice(&bytes).map_err(&broken)? {
            Format { format: FORMAT } => Ok(Some(serde_json::from_slice(&bytes).map_err(broken)?)),
            Format { format } => Err(Error::NewerManifest { path, format, known: FORMAT }),
        }
    }

    fn save(&self, manifest: &Manifest, known: Option<&Manifest>) -> Result<bool, Error> {
        if Some(manifest) == known {
            return Ok(false);
        }
        let mut bytes = serde_json::to_vec_pretty(manifest).expect("every key of the manifest is a string");
        bytes.push(b'\n');
        Dir::open(&self.folder)?.put(MANIFEST, &bytes, 0o644)?;
        Ok(true)
    }

    /// What stands in Git's configuration.
    fn lines(&self, remotes: &[String]) -> String {
        let path = quoted(&self.folder.join(INCLUDED).display().to_string());
        let mut patterns: Vec<String> = Vec::new();
        for one in remotes.iter().flat_map(|remote| spellings(remote)) {
            if !patterns.contains(&one) {
                patterns.push(one);
            }
        }
        patterns.iter().map(|one| include_if(&format!("hasconfig:remote.*.url:{one}"), &path)).collect()
    }

    /// The file that is included: each hook with its command, and then when it runs.
    fn included(&self) -> String {
        let section = |hook: &&str| {
            let shim = shim::quote(self.folder.join(HOOKS).join(hook).as_os_str());
            let shim = String::from_utf8_lossy(&shim);
            // Of three states of a transaction one tells something.
            let guard = if *hook == "reference-transaction" { "test \"$1\" != committed || " } else { "" };
            // Git adds the arguments behind the last word.
            let command = quoted(&format!("{guard}! test -r {shim} || exec sh {shim}"));
            format!("[hook \"{NAME}{hook}\"]\n\tcommand = {command}\n\tevent = {hook}\n")
        };
        let head = "# Put here by `agent install --remote`, taken out by `agent uninstall --remote`.\n";
        std::iter::once(head.to_owned()).chain(Place::Clone.hooks().iter().map(section)).collect()
    }
}

/// Notes in a person's own folder of state that a clone was taken up; a line that gets lost has it known by its first push.
pub(crate) fn note_clone(state: &Path, git_dir: &Path) {
    let line = [git_dir.as_os_str().as_bytes(), b"\n"].concat();
    if clones(state).iter().any(|known| known == git_dir) {
        return;
    }
    if let Ok(mut file) = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(state.join(CLONES)) {
        let _ = file.write_all(&line);
    }
}

/// The clones that were taken up and are still there.
pub(crate) fn clones(state: &Path) -> Vec<PathBuf> {
    let text = fs::read(state.join(CLONES)).unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let paths: BTreeSet<PathBuf> =
        lines.filter_map(|line| Path::new(OsStr::from_bytes(line)).canonicalize().ok()).collect();
    paths.into_iter().filter(|git_dir| git_dir.join("HEAD").exists()).collect()
}

/// Lists the hooks that stand in Git's configuration and hold for a repository, in the order in which Git runs them.
pub(super) fn configured_with(git: &Git, git_dir: &Path) -> Result<Vec<Configured>, Error> {
    let mut found: Vec<Configured> = Vec::new();
    for (scope, file, key, value) in git.settings_like(git_dir, r"^hook\..*\.(command|event|enabled)$")? {
        let Some((name, what)) = key.strip_prefix("hook.").and_then(|rest| rest.rsplit_once('.')) else { continue };
        let at = found.iter().position(|hook| hook.name == name).unwrap_or_else(|| {
            found.push(Configured {
                name: name.to_owned(),
                events: Vec::new(),
                command: String::new(),
                enabled: true,
                scope: String::new(),
                file: PathBuf::new(),
                ours: name.starts_with(NAME),
            });
            found.len() - 1
        });
        let hook = &mut found[at];
        match what {
            "command" => (hook.command, hook.scope, hook.file) = (value, scope, file),
            "event" if value.is_empty() => hook.events.clear(),
            "event" if hook.events.contains(&value) => {}
            "event" => hook.events.push(value),
            _ => hook.enabled = !matches!(value.to_lowercase().as_str(), "false" | "no" | "off" | "0" | ""),
        }
    }
    Ok(found)
}

impl Configured {
    /// The agent that a hook of ours starts for an event; nothing where its shim is not there or not ours.
    pub(super) fn agent(&self, event: &'static str) -> Option<PathBuf> {
        let bytes = fs::read(self.shim(event)).ok()?;
        Some(shim::read(event, &bytes)?.1?.agent)
    }

    pub(super) fn shim(&self, event: &str) -> PathBuf {
        self.file.with_file_name(HOOKS).join(event)
    }
}

fn write(folder: &Dir, name: &str, bytes: &[u8], mode: u32) -> Result<bool, Error> {
    let is_there =
        |entry| matches!(entry, Some(Entry::File { bytes: there, mode: now }) if there == bytes && now == mode);
    if is_there(folder.entry(name)?) {
        return Ok(false);
    }
    folder.put(name, bytes, mode).map(|()| true)
}

/// A configuration of Git's while it is being changed, locked as Git itself locks it.
struct Lock {
    config: PathBuf,
    path: PathBuf,
    file: fs::File,
    /// Whether the lock is there still, and ours.
    held: bool,
}

impl Lock {
    fn of(config: &Path) -> Result<Lock, Error> {
        let mut path = config.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        if let Some(above) = config.parent() {
            fs::create_dir_all(above).map_err(io(above))?;
        }
        for _ in 0..PATIENCE.0 {
            match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Lock { config: config.to_owned(), path, file, held: true }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => std::thread::sleep(PATIENCE.1),
                Err(error) => return Err(Error::Closed { path: config.to_owned(), source: error }),
            }
        }
        Err(Error::Locked(path))
    }

    /// What is in it; nothing where there is none.
    fn read(&self) -> Result<Option<Vec<u8>>, Error> {
        match fs::metadata(&self.config) {
            Ok(meta) if meta.is_file() => fs::read(&self.config).map(Some).map_err(io(&self.config)),
            Ok(_) => Err(Error::Obstacle(self.config.clone())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(&self.config)(error)),
        }
    }

    /// Puts this in its place, with the rights that it has.
    fn write(mut self, bytes: &[u8]) -> Result<(), Error> {
        let before = fs::metadata(&self.config).ok();
        let mode = before.as_ref().map_or(0o644, |meta| meta.mode() & 0o7777);
        let told = io(&self.path);
        self.file.write_all(bytes).map_err(&told)?;
        self.file.set_permissions(fs::Permissions::from_mode(mode)).map_err(&told)?;
        if let Some(before) = before.filter(|_| rustix::process::geteuid().is_root()) {
            std::os::unix::fs::fchown(&self.file, Some(before.uid()), Some(before.gid())).map_err(&told)?;
        }
        self.file.sync_all().map_err(&told)?;
        fs::rename(&self.path, &self.config).map_err(io(&self.config))?;
        self.held = false;
        Ok(())
    }

    fn remove(self) -> Result<(), Error> {
        fs::remove_file(&self.config).map_err(io(&self.config))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.held {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k15_a_version_tells_whether_git_runs_hooks_out_of_its_configuration() {
        for new in [
            "2.54.0",
            "git version 2.54.0",
            "2.54.0.windows.1",
            "2.54.0-rc1",
            "2.55.GIT",
            "2.54.1 (Apple Git-160)",
            "2.100.0",
            "3.0.0",
            "10.1",
        ] {
            assert!(runs_configured(new), "{new}");
        }
        for old in [
            "2.53.0",
            "2.53.9.windows.2",
            "git version 2.39.5",
            "2.50.1 (Apple Git-155)",
            "2.5.54",
            "1.99.0",
            "2",
            "",
            "unknown",
            "2.x.54",
        ] {
            assert!(!runs_configured(old), "{old}");
        }
    }

    #[test]
    fn k15_what_is_put_into_a_persons_configuration_of_git_comes_out_again_byte_for_byte() {
        let agent = Path::new("/usr/bin/it's an agent");
        for before in [None, Some(""), Some("[user]\n\tname = Ann\n"), Some("[alias]\n\tx = log ; so it is")] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().canonicalize().unwrap();
            let (config, own) = (path.join("deep/gitconfig"), path.join("own \"folder\"/config.toml"));
            if let Some(before) = before {
                fs::create_dir_all(path.join("deep")).unwrap();
                fs::write(&config, before).unwrap();
                fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
            }
            let everywhere = Everywhere::new(&config, &own);
            let [one, two] = ["git.example.org", "ssh://[:1]/**"].map(str::to_owned);
            assert!(everywhere.put(std::slice::from_ref(&one), agent, None).unwrap());
            let once = fs::read(&config).unwrap();
            assert!(!everywhere.put(std::slice::from_ref(&one), agent, None).unwrap());
            assert_eq!(fs::read(&config).unwrap(), once, "{before:?}");
            assert!(everywhere.put(std::slice::from_ref(&two), Path::new("/other"), Some(&own)).unwrap());
            assert_eq!(everywhere.remotes().unwrap(), [one.clone(), two.clone()]);
            assert_eq!(everywhere.take_out(&["other".to_owned()]).unwrap(), Vec::<String>::new());
            assert_eq!(everywhere.take_out(std::slice::from_ref(&two)).unwrap(), std::slice::from_ref(&two));
            assert_eq!(fs::read(&config).unwrap(), once);
            assert_eq!(everywhere.take_out(&[]).unwrap(), [one]);
            assert_eq!(fs::read_to_string(&config).ok().as_deref(), before);
            let mode = |_| fs::metadata(&config).unwrap().mode() & 0o777;
            assert_eq!(before.map(mode), before.map(|_| 0o600));
            assert!(!everywhere.folder.exists() && !path.join("deep/gitconfig.lock").exists());
            assert_eq!(everywhere.take_out(&[]).unwrap(), Vec::<String>::new());
        }
    }

    #[test]
    fn k15_what_somebody_wrote_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let config = path.join("gitconfig");
        let everywhere = Everywhere::new(&config, &path.join("own/config.toml"));
        everywhere.put(&["git.example.org".to_owned()], Path::new("/usr/bin/agent"), None).unwrap();
        let mut text = fs::read_to_string(&config).unwrap();
        text.push_str("[user]\n\tname = Ann\n");
        fs::write(&config, text).unwrap();
        fs::write(path.join("own/git-hooks/notes"), "mine").unwrap();
        everywhere.put(&["git2.example.org".to_owned()], Path::new("/usr/bin/agent"), None).unwrap();
        // The same from another folder would be twice in one configuration.
        let other = Everywhere::new(&path.join("other"), &path.join("own/config.toml"));
        assert!(matches!(other.put(&[], Path::new("/agent"), None), Err(Error::Elsewhere { .. })));
        everywhere.take_out(&[]).unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), "[user]\n\tname = Ann\n");
        assert_eq!(fs::read_to_string(path.join("own/git-hooks/notes")).unwrap(), "mine");
    }
}
