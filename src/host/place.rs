//! Where a repository is and where git looks for its hooks, asked of git itself.
//!
//! The questions are put with `--git-dir`, which works for a repository of somebody else and under
//! `safe.bareRepository=explicit`, and without the variables that would answer for another repository.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Error, Place};

/// Where git looks for hooks, and who said so.
#[derive(Debug, PartialEq)]
pub(super) struct HooksDir {
    pub(super) path: PathBuf,
    /// The scope of `core.hooksPath`: `local`, `global`, `system`; `None` when nobody set it.
    pub(super) scope: Option<String>,
}

/// The git command line, with variables of its own for a test.
#[derive(Default)]
pub(super) struct Git {
    pub(super) env: Vec<(&'static str, OsString)>,
    /// What was asked and answered, for whoever asks while nothing changes.
    remembered: Option<RefCell<HashMap<Vec<OsString>, Told>>>,
}

impl Git {
    #[cfg(test)]
    pub(super) fn with(env: Vec<(&'static str, OsString)>) -> Git {
        Git { env, ..Git::default() }
    }

    /// Asks each question once.
    pub(super) fn remembering() -> Git {
        Git { remembered: Some(RefCell::default()), ..Git::default() }
    }

    /// Finds the directory that holds the hooks, the objects and the config of the repository at `path`.
    pub(super) fn find(&self, path: &Path) -> Result<PathBuf, Error> {
        let start = path.canonicalize().map_err(|source| Error::Io { path: path.into(), source })?;
        let told = self.run(&start, [OsStr::new("rev-parse"), OsStr::new("--git-common-dir")])?;
        let found = match told.status {
            0 => Some(start.join(line(told.out))),
            // Git refuses a repository of somebody else, or a bare one it was not told of by name; the look
            // of it is enough to find it, and whether we may write there is asked later.
            _ => start.ancestors().find_map(by_its_look),
        };
        let found = found.and_then(|found| found.canonicalize().ok());
        found.ok_or_else(|| Error::NotARepository(path.into()))
    }

    pub(super) fn place(&self, git_dir: &Path) -> Result<Place, Error> {
        Ok(match self.get(git_dir, &["--type=bool", "core.bare"])?.as_deref().map(OsStr::as_bytes) {
            Some(b"true") => Place::Server,
            Some(_) => Place::Clone,
            None if git_dir.file_name() == Some(OsStr::new(".git")) => Place::Clone,
            None => Place::Server,
        })
    }

    /// Finds where git looks for hooks; a relative `core.hooksPath` starts where git runs them.
    pub(super) fn hooks_dir(&self, git_dir: &Path, place: Place) -> Result<HooksDir, Error> {
        let Some(answer) = self.get(git_dir, &["--show-scope", "--type=path", "-z", "core.hooksPath"])? else {
            return Ok(HooksDir { path: git_dir.join("hooks"), scope: None });
        };
        let mut fields = answer.as_bytes().split(|&byte| byte == 0);
        let scope = String::from_utf8_lossy(fields.next().unwrap_or_default()).into_owned();
        let value = Path::new(OsStr::from_bytes(fields.next().unwrap_or_default()));
        if value.as_os_str().is_empty() {
            return Err(Error::EmptyHooksPath { scope });
        }
        Ok(HooksDir { path: self.start_of_hooks(git_dir, place)?.join(value), scope: Some(scope) })
    }

    /// Tells whether the configuration of the machine or of the person may say where hooks of repositories are.
    pub(super) fn hooks_may_be_elsewhere(&self) -> Result<bool, Error> {
        let question = r"^(core\.hookspath|include\.|includeif\.)";
        let told = self.ask(Path::new("/"), Path::new("/"), &["config", "--get-regexp", question])?;
        match told.status {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(told.into_error("config --get-regexp")),
        }
    }

    /// Tells which of the group's and the others' write bits `core.sharedRepository` means to be there.
    pub(super) fn shared_bits(&self, git_dir: &Path) -> Result<u32, Error> {
        let value = self.get(git_dir, &["core.sharedRepository"])?.unwrap_or_default();
        let value = value.to_string_lossy().to_lowercase();
        Ok(match &*value {
            "" | "umask" | "false" | "no" | "off" | "0" => 0,
            "group" | "true" | "yes" | "on" | "1" | "all" | "world" | "everybody" | "2" | "3" => 0o020,
            octal => u32::from_str_radix(octal, 8).unwrap_or(0) & 0o022,
        })
    }

    /// Reads one value of a file that is written as Git's own configuration is.
    pub(super) fn value_in(&self, file: &Path, key: &str) -> Result<Option<OsString>, Error> {
        let words =
            [OsStr::new("config"), OsStr::new("--file"), file.as_os_str(), OsStr::new("--get"), OsStr::new(key)];
        let told = self.run(Path::new("/"), words)?;
        match told.status {
            0 => Ok(Some(line(told.out).into())),
            1 => Ok(None),
            _ => Err(told.into_error(&format!("config --get {key}"))),
        }
    }

    /// Lists all settings of a repository whose keys fit, in the order in which they count: scope, file, key and value.
    pub(super) fn settings_like(
        &self,
        git_dir: &Path,
        keys: &str,
    ) -> Result<Vec<(String, PathBuf, String, String)>, Error> {
        let told =
            self.ask(git_dir, git_dir, &["config", "--show-scope", "--show-origin", "-z", "--get-regexp", keys])?;
        if !matches!(told.status, 0 | 1) {
            return Err(told.into_error("config --get-regexp"));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields: Vec<&[u8]> = told.out.split(|&byte| byte == 0).collect();
        let setting = |fields: &[&[u8]]| {
            let [scope, origin, said] = fields else { return None };
            let file = OsStr::from_bytes(origin.strip_prefix(b"file:").unwrap_or(origin));
            let (key, value) = match said.iter().position(|&byte| byte == b'\n') {
                Some(at) => (&said[..at], &said[at + 1..]),
                None => (*said, &b"true"[..]),
            };
            Some((text(scope), git_dir.join(file), text(key), text(value)))
        };
        Ok(fields.chunks(3).filter_map(setting).collect())
    }

    /// The version of the Git that is found first.
    pub(super) fn version(&self) -> Result<String, Error> {
        let told = self.run(Path::new("/"), [OsStr::new("--version")])?;
        let said = String::from_utf8_lossy(&told.out);
        Ok(said.trim().strip_prefix("git version ").unwrap_or(said.trim()).to_owned())
    }

    pub(super) fn has_id(&self, git_dir: &Path) -> Result<bool, Error> {
        Ok(self.get(git_dir, &["--local", "agent.repoid"])?.is_some())
    }

    /// Takes `agent.repoid` out of the repository's own config, and the section with it when that is empty.
    pub(super) fn unset_id(&self, git_dir: &Path) -> Result<(), Error> {
        let told = self.ask(git_dir, git_dir, &["config", "--local", "--unset-all", "agent.repoid"])?;
        // 5: there was nothing to unset.
        if told.status == 0 || told.status == 5 { Ok(()) } else { Err(told.into_error("config --unset-all")) }
    }

    fn start_of_hooks(&self, git_dir: &Path, place: Place) -> Result<PathBuf, Error> {
        if let Place::Server = place {
            return Ok(git_dir.into());
        }
        let work_tree = self.get(git_dir, &["--local", "--type=path", "core.worktree"])?;
        Ok(match work_tree {
            Some(work_tree) => git_dir.join(work_tree),
            None => git_dir.parent().unwrap_or(git_dir).into(),
        })
    }

    fn get(&self, git_dir: &Path, question: &[&str]) -> Result<Option<OsString>, Error> {
        let (key, options) = question.split_last().expect("a key is asked for");
        let told = self.ask(git_dir, git_dir, &[&["config"], options, &["--get", key]].concat())?;
        match told.status {
            0 => Ok(Some(line(told.out).into())),
            1 => Ok(None),
            _ => Err(told.into_error(&format!("config --get {key}"))),
        }
    }

    fn ask(&self, git_dir: &Path, cwd: &Path, words: &[&str]) -> Result<Told, Error> {
        let mut git_dir_option = OsString::from("--git-dir=");
        git_dir_option.push(git_dir);
        self.run(cwd, std::iter::once(git_dir_option.as_os_str()).chain(words.iter().map(OsStr::new)))
    }

    fn run<'a>(&self, cwd: &Path, words: impl IntoIterator<Item = &'a OsStr>) -> Result<Told, Error> {
        let words: Vec<OsString> = words.into_iter().map(OsStr::to_owned).collect();
        let Some(remembered) = &self.remembered else { return self.start(cwd, &words) };
        let question: Vec<OsString> =
            std::iter::once(cwd.as_os_str().to_owned()).chain(words.iter().cloned()).collect();
        if let Some(told) = remembered.borrow().get(&question) {
            return Ok(told.clone());
        }
        let told = self.start(cwd, &words)?;
        remembered.borrow_mut().insert(question, told.clone());
        Ok(told)
    }

    fn start(&self, cwd: &Path, words: &[OsString]) -> Result<Told, Error> {
        let mut command = Command::new("git");
        command.args(words).current_dir(cwd).stdin(Stdio::null()).env("LC_ALL", "C");
        for name in crate::git::MISLEADING {
            command.env_remove(name);
        }
        let output = command.envs(self.env.iter().map(|(name, value)| (name, value))).output();
        let output = output.map_err(Error::NoGit)?;
        Ok(Told { status: output.status.code().unwrap_or(-1), out: output.stdout, err: output.stderr })
    }
}

/// Where a Git lies that windows and services start, whatever a terminal looks for.
const USUAL: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/bin"];

/// Every Git that lies where programs are looked for, with its version.
pub(super) fn versions(search: &OsStr) -> Vec<(PathBuf, String)> {
    let usual = USUAL.iter().map(PathBuf::from);
    let mut found: Vec<(PathBuf, PathBuf, std::io::Result<Child>)> = Vec::new();
    for program in std::env::split_paths(search).chain(usual).map(|folder| folder.join("git")) {
        let Ok(real) = program.canonicalize() else { continue };
        if found.iter().any(|(_, other, _)| *other == real) {
            continue;
        }
        let mut command = Command::new(&program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // All are asked before the first is heard.
        found.push((program, real, command.spawn()));
    }
    let version = |(program, _, asked): (PathBuf, PathBuf, std::io::Result<Child>)| {
        let told = asked.and_then(Child::wait_with_output).ok()?;
        let version = String::from_utf8_lossy(&told.stdout).trim().strip_prefix("git version ")?.to_owned();
        Some((program, version))
    };
    found.into_iter().filter_map(version).collect()
}

/// What git answered.
#[derive(Clone)]
struct Told {
    status: i32,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Told {
    fn into_error(self, asked: &str) -> Error {
        Error::Git { asked: asked.into(), said: String::from_utf8_lossy(&self.err).trim().into() }
    }
}

fn line(mut out: Vec<u8>) -> PathBuf {
    if out.last() == Some(&b'\n') {
        out.pop();
    }
    OsString::from_vec(out).into()
}

/// Recognises a git directory, the work tree of one, or a file that names one, without asking git.
pub(super) fn by_its_look(path: &Path) -> Option<PathBuf> {
    let dot_git = path.join(".git");
    if dot_git.is_file() {
        let text = std::fs::read(&dot_git).ok()?;
        let named = line(text.strip_prefix(b"gitdir: ")?.to_vec());
        return common_of(&path.join(named));
    }
    common_of(&dot_git).or_else(|| common_of(path))
}

fn common_of(git_dir: &Path) -> Option<PathBuf> {
    if let Ok(common) = std::fs::read(git_dir.join("commondir")) {
        return common_of(&git_dir.join(line(common)));
    }
    let looks_right = git_dir.join("HEAD").symlink_metadata().is_ok() && git_dir.join("objects").is_dir();
    (looks_right && git_dir.join("refs").is_dir()).then(|| git_dir.into())
}
