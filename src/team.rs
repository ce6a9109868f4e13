//! What a team suggests for its clones: `.agent.toml` in the root of the work tree, committed like any other file.
//!
//! Whoever can push can write it, so it counts only once a person has said yes to this very content in this very clone: the
//! digest lies in the git directory. It can make a clone stricter and say how messages and branches look, and no
//! more: it names no site, no credential, no command, no path and no query. It is read in the work tree, because that is
//! what a person sees there; a link, a pipe or a file too long is not read at all. Nothing in it ever stops a commit by being wrong.

use std::fs;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::config::{self, Config};
use crate::git::{self, Repository};
use crate::host;
use crate::policy::{self, Place};
use crate::text::hex;

pub const FILE: &str = ".agent.toml";
/// Where a person may say with `git config` of one clone where the key of the branch goes.
pub const KEY: &str = "agent.key";
/// The note of what was accepted, in the folder of ours in the git directory.
const TRUSTED: &str = "trusted";
/// The longest that is read.
const LONGEST: u64 = 64 << 10;

/// Everything `.agent.toml` may say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Team {
    /// How the key of the branch goes into messages.
    pub message: Option<policy::Message>,
    /// What is asked of commits, in the clone.
    pub policy: Vec<policy::Settings>,
    pub branch: Option<Branch>,
}

/// What a branch for an issue is called.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// As `template` of `[branch]` in the configuration.
    pub template: String,
}

/// The file as it lies there.
#[derive(Debug)]
pub struct Found {
    pub path: PathBuf,
    pub text: String,
}

impl Found {
    /// The file of a work tree; an error says why one that is there is not read.
    pub fn of(work_tree: &Path) -> Result<Option<Found>, String> {
        let path = work_tree.join(FILE);
        let Ok(meta) = fs::symlink_metadata(&path) else { return Ok(None) };
        if !meta.is_file() {
            return Err(format!("{FILE} is no regular file"));
        }
        let unreadable = |error: std::io::Error| format!("{FILE} cannot be read: {error}");
        // Should something else take its place now, opening must neither follow nor wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| unreadable(error.into()))?;
        let mut bytes = Vec::new();
        File::from(file).take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LONGEST {
            return Err(format!("{FILE} is longer than {} KiB", LONGEST >> 10));
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("{FILE} is not UTF-8"))?;
        Ok(Some(Found { path, text }))
    }

    /// Reads what it says; an error names line and column.
    pub fn read(&self) -> Result<Team, String> {
        let team: Team = toml::from_str(&self.text)
            .map_err(|error| config::syntax(&self.text, Path::new(FILE), &error).to_string())?;
        if let Some(message) = &team.message {
            message.check().map_err(|because| format!("{FILE}: message: {because}"))?;
        }
        for (number, section) in (1..).zip(&team.policy) {
            let because = match section {
                _ if section.jql.is_some() => {
                    Some("jql is for the configuration: a repository asks Jira no queries".to_owned())
                }
                _ if !section.accounts.is_empty() || !section.repositories.is_empty() => {
                    Some("accounts and repositories are for the configuration: here it holds in this one".to_owned())
                }
                _ => section.check().err(),
            };
            if let Some(because) = because {
                return Err(format!("{FILE}: policy {number}: {because}"));
            }
        }
        if let Some(branch) = &team.branch {
            let settings = crate::branch::Settings { template: branch.template.clone(), ..Default::default() };
            settings.check().map_err(|because| format!("{FILE}: branch: template: {because}"))?;
        }
        Ok(team)
    }

    /// Whether a person said yes to this content in the repository with this git directory.
    pub fn is_trusted(&self, git_dir: &Path) -> bool {
        fs::read_to_string(note(git_dir)).is_ok_and(|text| text.trim_end() == self.digest())
    }

    /// Notes that a person said yes to this content.
    pub fn trust(&self, git_dir: &Path) -> std::io::Result<()> {
        let path = note(git_dir);
        fs::create_dir_all(path.parent().expect("it lies in a folder"))?;
        fs::write(path, self.digest() + "\n")
    }

    fn digest(&self) -> String {
        hex(&Sha256::digest(self.text.as_bytes()))
    }
}

/// How keys go into the messages of a clone: as whoever works there has `said`, else as the configuration does.
pub fn message_of(config: &Config, said: Option<&str>) -> policy::Message {
    let key = said.and_then(Place::named).unwrap_or(config.message.key);
    policy::Message { key, ..config.message.clone() }
}

/// Notes in a clone where no policy holds what is sure of its messages, for hooks that ask nobody: the projects that are linked, and
/// where a key goes by itself. `config` was read from `path`.
pub(crate) fn note_sure(config: &Config, path: &Path, git_dir: &Path, home: Option<&Path>) -> std::io::Result<()> {
    let files = ["config", "config.worktree"].map(|name| git_dir.join(name));
    let files = files.each_ref().map(PathBuf::as_path);
    let link = config.link_of(git_dir);
    let site = link.and_then(|link| link.site).map_or(&[][..], |site| &site.projects);
    let linked = |project: &&String| link.is_some_and(|link| link.keys.is_empty() || link.keys.contains(project));
    let projects: Vec<&str> = site.iter().filter(linked).map(String::as_str).collect();
    let is_usual = config.hook.answer && config.parse == crate::parse::Settings::default() && !projects.is_empty();
    let [said] = git::settings(files, [KEY]);
    let message = message_of(config, said.as_deref());
    let rests = files.iter().all(|path| !path.exists() || host::rests(path)) && !git::includes_others(files);
    let one_line = |text: &str| !text.contains(char::is_control);
    let home = home.and_then(Path::to_str).filter(|home| one_line(home) && one_line(&message.template));
    let sure = match (is_usual, home) {
        (false, _) => String::new(),
        (true, Some(home)) if rests && message.key == Place::Prefix => {
            format!("projects {}\nprefix {}\nhome {home}\n", projects.join(" "), message.template)
        }
        (true, _) => format!("projects {}\n", projects.join(" ")),
    };
    host::mark_plain(git_dir, path, Some(&sure))
}

/// Has the hooks of a commit do in a clone what may be wanted of them, whatever the team's file says in each of its work trees.
pub(crate) fn set_commit_hooks(config: &Config, clone: &Repository) -> Result<(), host::Error> {
    let git_dir = clone.common_dir();
    let [said] = clone.settings([KEY]);
    let has_accepted = has_accepted(git_dir);
    let keys = message_of(config, said.as_deref()).key != Place::Off || has_accepted;
    let plain = config.policies(git_dir).is_empty() && host::is_marked_plain(git_dir) && !has_accepted;
    host::set_commit_hooks(git_dir, keys, plain)
}

/// Whether a person said yes to any content.
pub fn has_accepted(git_dir: &Path) -> bool {
    note(git_dir).exists()
}

/// Takes back what was accepted; tells whether there was anything.
pub fn distrust(git_dir: &Path) -> std::io::Result<bool> {
    match fs::remove_file(note(git_dir)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Adds what the team suggests to a configuration, where a person has accepted it; gives the one line to say where not.
pub fn apply(config: &mut Config, work_tree: &Path, git_dir: &Path) -> Option<String> {
    let found = match Found::of(work_tree) {
        Ok(found) => found?,
        Err(because) => return Some(format!("{because}, so it is ignored")),
    };
    if !found.is_trusted(git_dir) {
        return Some(format!(
            "{FILE} of this repository is ignored until you accept it: agent trust --show, then agent trust"
        ));
    }
    match found.read() {
        Ok(team) => {
            team.add_to(config);
            None
        }
        Err(because) => Some(format!("{because}; it is ignored")),
    }
}

impl Team {
    fn add_to(self, config: &mut Config) {
        if let Some(message) = self.message {
            config.message = message;
        }
        if let Some(branch) = self.branch {
            config.branch.template = branch.template;
        }
        config.policy.extend(self.policy);
    }
}

fn note(git_dir: &Path) -> PathBuf {
    git_dir.join("agent").join(TRUSTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, error: &str) {
        let found = Found { path: FILE.into(), text: text.to_owned() };
        let because = found.read().unwrap_err();
        assert!(because.contains(error), "{because}");
    }

    #[test]
    fn k15_a_team_can_make_a_clone_stricter_and_no_more() {
        check("[[site]]\nname = \"x\"\n", ".agent.toml:1:3: unknown field `site`");
        check("[[policy]]\nkey = true\n[[policy]]\nkye = true\n", ".agent.toml:4:1: unknown field `kye`");
        check("[[policy]]\njql = \"project = X\"\n", "policy 1: jql is for the configuration");
        check("[[policy]]\nkey = true\nrepositories = [\"x\"]\n", "policy 1: accounts and repositories");
        check("[branch]\ntemplate = \"x\"\n", "branch: template: the template has no {key}");
        check("[branch]\ntemplate = \"{key}\"\nstart = \"Done\"\n", ".agent.toml:3:1: unknown field `start`");
        check("[message]\ntemplate = \"x\"\n", "message: template needs {key}");
    }

    #[test]
    fn k15_only_a_plain_file_of_some_length_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Found::of(folder.path()).unwrap().is_none());
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join(FILE)).unwrap();
        assert!(Found::of(folder.path()).unwrap_err().contains("no regular file"));
        fs::remove_file(folder.path().join(FILE)).unwrap();
        fs::write(folder.path().join(FILE), vec![b'#'; 70_000]).unwrap();
        assert!(Found::of(folder.path()).unwrap_err().contains("longer than 64 KiB"));
    }
}
