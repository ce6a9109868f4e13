//! The `git` command line, for what libgit2 cannot read yet, the refs of a reftable repository, and for making one.
//!
//! It runs without a shell, with an environment of its own and with a fixed search path, so neither the pusher's
//! environment nor the system's or the user's configuration has a say; nothing that came from a repository becomes an
//! argument.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Error, Oid, RefName};

/// Where `git` is looked for; the pusher's own path is not to be trusted.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin:/run/current-system/sw/bin";

const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", PATH),
    ("LC_ALL", "C"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// Lists every ref and the object it names.
pub(super) fn refs(git_dir: &Path) -> Result<Vec<(RefName, Oid)>, Error> {
    let output = run(git_dir, "for-each-ref", &["--format=%(objectname) %(refname)".as_ref()])?;
    let lines = output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.filter_map(parse).collect())
}

/// Gives the ref that HEAD names.
pub(super) fn head(git_dir: &Path) -> Result<RefName, Error> {
    let output = run(git_dir, "symbolic-ref", &["HEAD".as_ref()])?;
    Ok(RefName::new(output.trim_ascii_end()))
}

/// Sets a key in a configuration file, under that file's own lock.
pub(super) fn configure(git_dir: &Path, file: &Path, key: &str, value: &str) -> Result<(), Error> {
    let arguments: [&OsStr; 5] =
        ["--file".as_ref(), file.as_ref(), "--replace-all".as_ref(), key.as_ref(), value.as_ref()];
    run(git_dir, "config", &arguments).map(drop)
}

fn parse(line: &[u8]) -> Option<(RefName, Oid)> {
    let (id, name) = line.split_at_checked(line.iter().position(|&byte| byte == b' ')?)?;
    Some((RefName::new(&name[1..]), Oid::from_hex(id)?))
}

/// Makes HEAD name a branch.
pub(super) fn set_head(git_dir: &Path, branch: &RefName) -> Result<(), Error> {
    run(git_dir, "symbolic-ref", &["HEAD".as_ref(), OsStr::from_bytes(branch.as_bytes())]).map(drop)
}

pub(super) fn run(git_dir: &Path, command: &'static str, arguments: &[&OsStr]) -> Result<Vec<u8>, Error> {
    run_with(git_dir, command, arguments, &[], b"")
}

/// Runs a command with more in its environment and with this input.
pub(super) fn run_with(
    git_dir: &Path,
    command: &'static str,
    arguments: &[&OsStr],
    environment: &[(&str, &str)],
    input: &[u8],
) -> Result<Vec<u8>, Error> {
    let started = |source| Error::Io { path: "git".into(), source };
    let mut git = Command::new("git");
    git.env_clear().envs(ENVIRONMENT.iter().copied()).envs(environment.iter().copied());
    git.arg(option(git_dir)).args(SAFE).arg(command).args(arguments);
    git.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    let mut child = git.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(started)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).map_err(started)?;
    }
    answer(command, &child.wait_with_output().map_err(started)?)
}

/// Runs a command that speaks to another repository, as whoever typed it: their keys, their helpers for passwords, their
/// terminal. What they may have set about a repository has no say, nor has any hook.
pub(super) fn reach(
    git_dir: &Path,
    command: &'static str,
    arguments: &[&OsStr],
    shown: bool,
) -> Result<Vec<u8>, Error> {
    let mut git = Command::new("git");
    git.arg(option(git_dir)).args(SAFE).arg(command).args(arguments);
    for name in MISLEADING {
        git.env_remove(name);
    }
    git.env("GIT_ALLOW_PROTOCOL", "https:ssh:git:file").env("GIT_NO_REPLACE_OBJECTS", "1").env("LC_ALL", "C");
    git.current_dir(git_dir).stdin(Stdio::null()).stdout(Stdio::piped());
    git.stderr(if shown { Stdio::inherit() } else { Stdio::piped() });
    let output = git.spawn().and_then(std::process::Child::wait_with_output);
    answer(command, &output.map_err(|source| Error::Io { path: "git".into(), source })?)
}

/// What keeps hooks and a helper that a configuration names from running.
const SAFE: [&str; 4] = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"];

/// What a hook or a script of the caller may have set and what would make git speak of another repository, or of this one
/// otherwise than it is.
pub const MISLEADING: [&str; 22] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DEFAULT_HASH",
    "GIT_DIR",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_EXTERNAL_DIFF",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_TEMPLATE_DIR",
    "GIT_WORK_TREE",
];

fn option(git_dir: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from("--git-dir=");
    option.push(git_dir);
    option
}

fn answer(command: &'static str, output: &std::process::Output) -> Result<Vec<u8>, Error> {
    match output.status.success() {
        true => Ok(output.stdout.clone()),
        false => {
            let stderr = String::from_utf8_lossy(output.stderr.trim_ascii_end()).into_owned();
            Err(Error::Command { command, stderr })
        }
    }
}
