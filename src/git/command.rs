//! The `git` command line, for what libgit2 cannot read yet: the refs of a reftable repository.
//!
//! It runs without a shell, with an environment of its own and with a fixed search path, so neither the pusher's
//! environment nor the system's or the user's configuration has a say; nothing that came from a repository becomes an
//! argument.

use std::ffi::OsStr;
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

fn run(git_dir: &Path, command: &'static str, arguments: &[&OsStr]) -> Result<Vec<u8>, Error> {
    let mut option = std::ffi::OsString::from("--git-dir=");
    option.push(git_dir);
    let output = Command::new("git")
        .env_clear()
        .envs(ENVIRONMENT.iter().copied())
        .arg(option)
        .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", command])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Io { path: "git".into(), source })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => {
            let stderr = String::from_utf8_lossy(output.stderr.trim_ascii_end()).into_owned();
            Err(Error::Command { command, stderr })
        }
    }
}
